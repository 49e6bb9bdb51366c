//! The frame of a process: descriptors, diagnostics, signals, and how it ends.

use std::fmt;
use std::future::Future;
use std::process::ExitCode;

use tokio::task::JoinHandle;

use super::diagnostics;
use super::platform::descriptor_limit;
pub use super::platform::{raise_descriptor_limit, stop_signal, survive_file_size_limit};
use crate::limits::DESCRIPTORS_MIN;

/// How a program failed.
#[derive(Debug)]
pub enum Failure {
    /// Wrong usage or configuration: exit code 2.
    Usage(anyhow::Error),
    /// Something went wrong while running: exit code 1.
    Running(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Running(error.into())
    }
}

impl fmt::Display for Failure {
    /// What went wrong, `cause: cause`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(error) | Failure::Running(error) => write!(f, "{error:#}"),
        }
    }
}

impl Failure {
    /// Wrong usage or configuration.
    pub fn usage(problem: impl fmt::Display) -> Self {
        Failure::Usage(anyhow::anyhow!("{problem}"))
    }

    /// Something went wrong while running.
    pub fn running(problem: impl fmt::Display) -> Self {
        Failure::Running(anyhow::anyhow!("{problem}"))
    }
}

/// Ends a program: an error becomes one line on stderr, `name: cause: cause`.
pub fn exit(name: &str, result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else {
        diagnostics::close();
        return ExitCode::SUCCESS;
    };
    let code = match failure {
        Failure::Usage(_) => 2,
        Failure::Running(_) => 1,
    };
    diagnostics::say(&format!("{name}: {failure}"));
    diagnostics::close();
    ExitCode::from(code)
}

/// Diagnostics, and as many descriptors as there may be.
pub fn prepare() -> Result<(), Failure> {
    diagnostics::init()?;
    raise_descriptor_limit();
    match descriptor_limit() {
        Some(few) if few < DESCRIPTORS_MIN => Err(Failure::running(format!(
            "{few} open files are too few, a process needs {DESCRIPTORS_MIN} (ulimit -n)"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Prepares this process and does its work on this one thread.
pub fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    prepare()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // Not dropped, which would wait for look-ups of names: one that nobody answers takes ten seconds.
    runtime.shutdown_background();
    result
}

/// Waits for a node to end; after `shutdown` it is told to `stop` first.
pub async fn until_stopped(
    mut running: JoinHandle<Result<(), Failure>>,
    shutdown: impl Future<Output = ()>,
    stop: impl AsyncFnOnce(),
) -> Result<(), Failure> {
    tokio::select! {
        ended = &mut running => return ended.map_err(Failure::running)?,
        () = shutdown => stop().await,
    }
    running.await.map_err(Failure::running)?
}
