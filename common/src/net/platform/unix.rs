//! Linux and macOS.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::super::sink;

/// Raises the soft limit of descriptors to the hard one.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// How many descriptors the process may have open, if that is limited.
pub fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Has a write beyond the limit of a file's size fail with an error that can be told, instead of ending the process
/// without a word.
pub fn survive_file_size_limit() -> io::Result<()> {
    const SIGXFSZ: i32 = 25;
    // Once registered, the handler stays for the life of the process.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

/// Waits for SIGTERM, Ctrl-C, or the end of the terminal that this process was started at; for ever, where none of them
/// can be waited for. Any other SIGHUP has the log files opened again.
pub async fn stop_signal() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hang_up() => {}
        },
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!("signals cannot be waited for: {error}");
            std::future::pending::<()>().await;
        }
    }
}

/// Waits until the terminal is gone; for ever, where there is none, or where nohup has this process outlive it.
async fn hang_up() {
    // Asked before the handler is there, which ends the ignoring.
    let ends_with_terminal = has_terminal() && !is_hang_up_ignored();
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    while hang_up.recv().await.is_some() {
        if ends_with_terminal && !has_terminal() {
            return;
        }
        sink::reopen_files();
    }
}

/// Whether this process has a terminal that can be opened.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether whoever started this process has it ignore SIGHUP. Only Linux tells; elsewhere it is taken to, for to
/// outlive a terminal harms nobody.
fn is_hang_up_ignored() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return true };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A bit for each signal; SIGHUP is the first.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Standard output as a file of its own, whose writes go out as they are.
pub fn stdout_without_buffer() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Standard error as a file of its own, whose writes go out as they are.
pub fn stderr_without_buffer() -> io::Result<File> {
    Ok(File::from(io::stderr().as_fd().try_clone_to_owned()?))
}

/// Whether this process or host lacks the means for a connection: that says nothing about the other end.
pub fn is_own_shortage(error: &io::Error) -> bool {
    let own = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::ADDRINUSE,
        Errno::NETUNREACH,
        Errno::NETDOWN,
        Errno::PERM,
        Errno::ACCESS,
    ];
    error.raw_os_error().is_some_and(|code| own.iter().any(|errno| errno.raw_os_error() == code))
}
