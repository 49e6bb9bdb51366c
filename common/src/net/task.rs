//! Tasks for whose results somebody waits.
//!
//! A task that panics, or that was never begun for want of a thread, says nothing; and whoever waits for its word waits
//! for ever: the dial that is never repeated, the seed that never leads. So each of them reports in any case.

use std::future::Future;

use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

/// Does `work` beside everything else, and sends what came of it; where nothing did, for the task panicked, what
/// `otherwise` makes of the reason. Who aborts it waits for nothing any more, and is sent nothing.
pub fn report<T: Send + 'static>(
    to: Sender<T>,
    work: impl Future<Output = T> + Send + 'static,
    otherwise: impl FnOnce(String) -> T + Send + 'static,
) -> AbortHandle {
    let working = tokio::spawn(work);
    let handle = working.abort_handle();
    tokio::spawn(async move {
        let result = match working.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => otherwise(error.to_string()),
            Err(_) => return,
        };
        // Who has ended waits no longer.
        let _ = to.send(result).await;
    });
    handle
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_reports_as_well() {
        let (to, mut reports) = mpsc::channel(4);
        report(to.clone(), async { "done".to_owned() }, |_| "otherwise".to_owned());
        assert_eq!(reports.recv().await.as_deref(), Some("done"));
        report(to.clone(), async { panic!("no thread") }, |why| format!("otherwise: {why}"));
        let said = reports.recv().await.unwrap_or_default();
        assert!(said.starts_with("otherwise: ") && said.contains("no thread"), "{said}");
        report(to, std::future::pending(), |_| "otherwise".to_owned()).abort();
        assert_eq!(reports.recv().await, None, "nothing comes of what was given up");
    }
}
