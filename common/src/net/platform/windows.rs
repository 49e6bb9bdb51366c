//! Windows. Compiled, and not tested.

use std::fs::File;
use std::io;
use std::os::windows::io::AsHandle;

/// There is no limit of sockets to be raised.
pub fn raise_descriptor_limit() {}

/// How many descriptors the process may have open, if that is limited.
pub fn descriptor_limit() -> Option<u64> {
    None
}

/// A file's size has no limit of the process's, so nothing ends for that.
pub fn survive_file_size_limit() -> io::Result<()> {
    Ok(())
}

/// Waits for Ctrl-C; for ever, where it cannot be waited for. There is no SIGTERM: who is to leave in order is sent
/// Ctrl-C.
pub async fn stop_signal() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!("Ctrl-C cannot be waited for: {error}");
        std::future::pending::<()>().await;
    }
}

/// Standard output as a file of its own, whose writes go out as they are.
pub fn stdout_without_buffer() -> io::Result<File> {
    Ok(File::from(io::stdout().as_handle().try_clone_to_owned()?))
}

/// Standard error as a file of its own, whose writes go out as they are.
pub fn stderr_without_buffer() -> io::Result<File> {
    Ok(File::from(io::stderr().as_handle().try_clone_to_owned()?))
}

/// Whether this process or host lacks the means for a connection: that says nothing about the other end.
pub fn is_own_shortage(error: &io::Error) -> bool {
    /// WSAEMFILE, WSAENOBUFS, WSAEADDRINUSE, WSAEADDRNOTAVAIL, WSAENETDOWN, WSAENETUNREACH, WSAEACCES, as winsock
    /// numbers them.
    const OWN: [i32; 7] = [10_024, 10_055, 10_048, 10_049, 10_050, 10_051, 10_013];
    error.raw_os_error().is_some_and(|code| OWN.contains(&code))
}
