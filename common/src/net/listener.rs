//! An accept loop that outlives a lack of descriptors.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::platform::{descriptor_limit, is_own_shortage};
use super::tcp::{TcpListener, TcpStream};
use crate::limits::{CONNECTIONS_MAX, DESCRIPTORS_SET_ASIDE};

/// How long to wait when there is no descriptor left.
const NO_DESCRIPTOR_PAUSE: Duration = Duration::from_millis(50);

/// Why this process accepts nobody, if it cannot. One for all its listeners: what they lack is the process's.
static SHORTAGE: Mutex<Option<String>> = Mutex::new(None);

/// A shortage, for as long as this lives.
struct Shortage;

impl Shortage {
    fn of(error: &io::Error) -> Self {
        *SHORTAGE.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        Shortage
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        *SHORTAGE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Why no connection is accepted, if that is so.
pub(super) fn shortage() -> Option<String> {
    SHORTAGE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The next connection. Waits where there is no descriptor for it, and passes over those that are gone already.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if stream.set_nodelay(true).is_ok() {
                    return stream;
                }
            }
            Err(error) if is_own_shortage(&error) => {
                // It is over with the pause: where it is not, the next attempt fails before anybody looks.
                let _short = Shortage::of(&error);
                tokio::time::sleep(NO_DESCRIPTOR_PAUSE).await;
            }
            Err(_) => {}
        }
    }
}

/// Feeds the connections of `listener` to a node, each as an `arrival`, at the node's pace.
pub async fn feed<A>(listener: TcpListener, arrivals: mpsc::Sender<A>, arrival: fn(TcpStream) -> A) {
    while arrivals.send(arrival(accept(&listener).await)).await.is_ok() {}
}

/// Connections that a node may keep at once: as many as the process may open, but for what is set aside for its files,
/// for those that it dials itself, and for probes. The limit may be lowered while it runs.
pub fn connections_max() -> usize {
    let Some(descriptors) = descriptor_limit() else { return CONNECTIONS_MAX };
    let left = descriptors.saturating_sub(descriptors / 4 + DESCRIPTORS_SET_ASIDE);
    usize::try_from(left).unwrap_or(CONNECTIONS_MAX).clamp(1, CONNECTIONS_MAX)
}
