//! The frame of a process: descriptors, diagnostics, signals, and how it ends.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

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
    let Err(failure) = result else { return ExitCode::SUCCESS };
    let code = match failure {
        Failure::Usage(_) => 2,
        Failure::Running(_) => 1,
    };
    // Nobody may be left to read it; then nothing is to be done about that either.
    let _ = writeln!(io::stderr(), "{name}: {failure}");
    ExitCode::from(code)
}

/// Diagnostics, and as many descriptors as there may be.
pub fn prepare() {
    init_diagnostics();
    raise_descriptor_limit();
}

/// Prepares this process and does its work on this one thread.
pub fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    prepare();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Sends diagnostics to stderr, as `RUST_LOG` wishes; warnings by default.
fn init_diagnostics() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,openraft=off"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
}

/// Raises the soft limit of descriptors to the hard one.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Has a write beyond the limit of a file's size fail with an error that can be told, instead of ending the process
/// without a word.
pub fn survive_file_size_limit() -> io::Result<()> {
    const SIGXFSZ: i32 = 25;
    // Once registered, the handler stays for the life of the process.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
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

/// Waits for SIGTERM or Ctrl-C; for ever, where neither can be waited for.
pub async fn stop_signal() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        },
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!("signals cannot be waited for: {error}");
            std::future::pending::<()>().await;
        }
    }
}
