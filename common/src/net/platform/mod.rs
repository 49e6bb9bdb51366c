//! What differs from one operating system to another.
//!
//! The programs are tested on Linux, and compile for macOS and Windows. What only some of them have stands in this
//! room, under one name for all; each half says what the others get instead.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{
    descriptor_limit, is_own_shortage, raise_descriptor_limit, stderr_without_buffer, stdout_without_buffer,
    stop_signal, survive_file_size_limit,
};
#[cfg(windows)]
pub use windows::{
    descriptor_limit, is_own_shortage, raise_descriptor_limit, stderr_without_buffer, stdout_without_buffer,
    stop_signal, survive_file_size_limit,
};

use std::time::Duration;

use socket2::SockRef;

/// Has the kernel send no more than so many bytes in one packet, and ask the other end for the same. Before there is a
/// connection. Windows cannot, and other systems than Linux may refuse: there such paths are as bad as for everybody.
pub fn limit_segments(socket: &SockRef<'_>, bytes: u32) {
    #[cfg(unix)]
    {
        // A socket without this option still works, except on a path that loses large packets.
        let _ = socket.set_tcp_mss(bytes);
    }
    #[cfg(not(unix))]
    let _ = (socket, bytes);
}

/// Has the kernel give a connection up on which nothing was acknowledged for so long, and repeat what is lost at a
/// steady pace. Only Linux has both; elsewhere the keepalive of an idle connection, and the pings of ours, have to
/// do.
pub fn give_up_unacknowledged(socket: &SockRef<'_>, after: Duration) {
    #[cfg(target_os = "linux")]
    {
        // A socket without these options still works; only such an end is noticed later, and a loss made good later.
        let _ = socket.set_tcp_user_timeout(Some(after));
        let _ = socket.set_tcp_thin_linear_timeouts(true);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, after);
}
