//! TCP: the operating system's, or, under `--cfg coterie_simulated`, that of a simulation.
//!
//! Everything above names these types and no others, so that the very same nodes run on either. What a simulated
//! network does not have, such as socket options, is left out here and nowhere else.

#[cfg(not(coterie_simulated))]
pub use real::{Bound, adopt, bind, connect, notice_vanishing};
#[cfg(coterie_simulated)]
pub use simulated::{Bound, adopt, bind, connect, notice_vanishing};
#[cfg(not(coterie_simulated))]
pub use tokio::net::{
    TcpListener, TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};
#[cfg(coterie_simulated)]
pub use turmoil::net::{
    TcpListener, TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};

#[cfg(not(coterie_simulated))]
mod real {
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use crate::net::platform::{give_up_unacknowledged, limit_segments};

    /// Connections that may wait to be accepted: a thousand that arrive together, with room.
    const BACKLOG: i32 = 4_096;

    /// Silence of a connection before the kernel asks whether the other end's is still there, and how often it asks, a
    /// second apart. Where one packet in five is lost in either direction, three questions in a row go unanswered
    /// every twenty times (0.36^3), and did; twelve once in 200,000.
    const ASK_AFTER: Duration = Duration::from_secs(3);
    const ASKS: u32 = 12;
    const ASK_EVERY: Duration = Duration::from_secs(1);

    /// How long the kernel may repeat what was sent and not acknowledged.
    const VANISHED_AFTER: Duration = Duration::from_secs(15);

    /// What a packet of ours carries at most. Every path of IPv6 takes packets of 1,280 bytes, of which 60 are headers,
    /// and so does about every one of IPv4. Larger ones are lost on some, behind tunnels and firewalls, and nobody is
    /// told: then pings pass, and a list of members never does.
    const SEGMENT_BYTES: u32 = 1_220;

    /// A socket that listens, before there is a runtime for it.
    pub type Bound = std::net::TcpListener;

    /// Listens at `address`. SO_REUSEADDR lets a restarted node have its port while old connections linger.
    pub fn bind(address: SocketAddr) -> io::Result<Bound> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Those that are accepted have it from this one.
        limit_segments(&SockRef::from(&socket), SEGMENT_BYTES);
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }

    /// Opens a connection.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        limit_segments(&SockRef::from(&socket), SEGMENT_BYTES);
        socket.connect(address).await
    }

    /// Gives a bound socket to the runtime.
    pub fn adopt(bound: Bound) -> io::Result<TcpListener> {
        TcpListener::from_std(bound)
    }

    /// Has the kernel end a connection whose other end has vanished without a word: nothing heard for about 15 s. And
    /// has it repeat what is lost every 200 ms rather than after twice the time each time: there is little under way on
    /// a connection of ours, and all of it matters now.
    pub fn notice_vanishing(stream: &TcpStream) {
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_EVERY).with_retries(ASKS);
        // A socket without this option still works; only such an end is noticed later.
        let _ = socket.set_tcp_keepalive(&keepalive);
        give_up_unacknowledged(&socket, VANISHED_AFTER);
    }
}

#[cfg(coterie_simulated)]
mod simulated {
    use std::future::Future;
    use std::io;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use turmoil::net::{TcpListener, TcpStream};

    /// A listener of the host on which this runs.
    pub type Bound = TcpListener;

    /// Listens at the port of `address`; the host is known.
    pub fn bind(address: SocketAddr) -> io::Result<Bound> {
        let bound = pin!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())));
        match bound.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(bound) => bound,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Opens a connection.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }

    /// It belongs to the host's runtime already.
    pub fn adopt(bound: Bound) -> io::Result<TcpListener> {
        Ok(bound)
    }

    /// No kernel watches over a simulated connection. That is why simulated networks hold what they delay and deliver
    /// it later, and lose nothing but what hosts lose when they end.
    pub fn notice_vanishing(_: &TcpStream) {}
}
