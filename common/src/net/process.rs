//! The frame of a process: descriptors, diagnostics, signals, and how it ends.

use std::env::{self, VarError};
use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use tokio::task::JoinHandle;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use super::platform::{raise_descriptor_limit, stop_signal, survive_file_size_limit};

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
pub fn prepare() -> Result<(), Failure> {
    init_diagnostics()?;
    raise_descriptor_limit();
    Ok(())
}

/// Prepares this process and does its work on this one thread.
pub fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    prepare()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Sends diagnostics to stderr, as `RUST_LOG` wishes.
fn init_diagnostics() -> Result<(), Failure> {
    let wish = match env::var("RUST_LOG") {
        Ok(wish) => wish,
        Err(VarError::NotPresent) => String::new(),
        Err(error @ VarError::NotUnicode(_)) => {
            return Err(Failure::usage(format_args!("RUST_LOG: {error}")));
        }
    };
    let written = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let _ = tracing_subscriber::registry().with(written).with(diagnostics_filter(&wish)?).try_init();
    Ok(())
}

/// `LEVEL` or `TARGET=LEVEL`, separated by commas; warnings if there is no wish.
fn diagnostics_filter(wish: &str) -> Result<Targets, Failure> {
    let filter = if wish.is_empty() { "warn,openraft=off" } else { wish };
    filter.parse().map_err(|error| Failure::usage(format_args!("RUST_LOG={wish:?}: {error}")))
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

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn diagnostics_are_warnings_unless_somebody_wishes_others() {
        let usual = diagnostics_filter("").unwrap();
        assert!(usual.would_enable("coterie_seed", &Level::WARN));
        assert!(!usual.would_enable("coterie_seed", &Level::INFO));
        assert!(!usual.would_enable("openraft::core", &Level::ERROR));
        let wished = diagnostics_filter("info,coterie_peer=debug").unwrap();
        assert!(wished.would_enable("openraft::core", &Level::INFO));
        assert!(wished.would_enable("coterie_peer::shell", &Level::DEBUG));
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let failure = diagnostics_filter("warn,openraft=loud").unwrap_err();
        assert!(matches!(failure, Failure::Usage(_)));
        assert!(failure.to_string().starts_with("RUST_LOG=\"warn,openraft=loud\": "), "{failure}");
    }
}
