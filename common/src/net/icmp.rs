//! ICMP as evidence about a host, for the record only: it answers for a paused process too.
//!
//! The unprivileged kind of socket is used where the system grants it, else a raw one. The kernel hands every echo on
//! the host to every raw socket, so one ping wakes each process that holds one open. Therefore a socket is open only
//! while something is asked on it: hundreds of nodes of one host would otherwise wake each other with every doubt.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use surge_ping::{Client, Config, ICMP, IcmpPacket, PingIdentifier, PingSequence, SurgeError};

use crate::HostEvidence;

/// Sends echo requests, where the system lets it.
pub struct Pinger {
    v4: Socket,
    v6: Socket,
    /// One counter for all: unprivileged sockets match replies by address and sequence alone.
    sequence: AtomicU16,
}

/// The socket of one family, shared by those who ask at the same time.
#[derive(Default)]
struct Socket {
    open: Mutex<Weak<Client>>,
}

impl Socket {
    /// Opens it, unless somebody has. It is closed when the last who got it lets go of it.
    fn open(&self, config: &Config) -> io::Result<Arc<Client>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = open.upgrade() {
            return Ok(client);
        }
        let client = Arc::new(Client::new(config)?);
        *open = Arc::downgrade(&client);
        Ok(client)
    }
}

impl Pinger {
    /// A pinger, and what it may not do, if so: to be said once and survived.
    pub fn new() -> (Self, Option<String>) {
        let pinger = Pinger { v4: Socket::default(), v6: Socket::default(), sequence: AtomicU16::new(0) };
        // A simulated network has no ICMP.
        let may = if cfg!(coterie_simulated) { Ok(()) } else { pinger.v4.open(&Config::default()).map(drop) };
        (pinger, may.err().map(|error| trouble(&error)))
    }

    /// Whether `ip` answers within `patience`.
    pub async fn ping(&self, ip: IpAddr, patience: Duration) -> HostEvidence {
        if cfg!(coterie_simulated) {
            return HostEvidence::Unknown;
        }
        let client = match ip {
            IpAddr::V4(_) => self.v4.open(&Config::default()),
            IpAddr::V6(_) => self.v6.open(&Config::builder().kind(ICMP::V6).build()),
        };
        let Ok(client) = client else { return HostEvidence::Unknown };
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let mut pinger = client.pinger(ip, PingIdentifier(std::process::id() as u16)).await;
        pinger.timeout(patience);
        match pinger.ping(PingSequence(sequence), &[0; 8]).await {
            Ok((packet, _)) if is_echo_reply(&packet) => HostEvidence::Answers,
            Ok(_) | Err(SurgeError::Timeout { .. }) => HostEvidence::Silent,
            Err(_) => HostEvidence::Unknown,
        }
    }
}

/// `ping` also returns errors such as "destination unreachable" as packets: only an echo reply is life.
fn is_echo_reply(packet: &IcmpPacket) -> bool {
    const V4_ECHO_REPLY: u8 = 0;
    const V6_ECHO_REPLY: u8 = 129;
    match packet {
        IcmpPacket::V4(packet) => packet.get_icmp_type().0 == V4_ECHO_REPLY,
        IcmpPacket::V6(packet) => packet.get_icmpv6_type().0 == V6_ECHO_REPLY,
    }
}

fn trouble(error: &io::Error) -> String {
    format!("no ICMP ({error}): deaths are found without evidence about the host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn icmp_tells_of_the_host_and_survives_a_lack_of_permission() {
        let (pinger, trouble) = Pinger::new();
        let local = pinger.ping([127, 0, 0, 1].into(), Duration::from_secs(5)).await;
        match trouble {
            None => {
                assert_eq!(local, HostEvidence::Answers);
                let is_open = pinger.v4.open.lock().unwrap().upgrade().is_some();
                assert!(!is_open, "the socket is open, and nothing is asked");
            }
            Some(trouble) => {
                assert!(trouble.starts_with("no ICMP ("), "{trouble}");
                assert_eq!(local, HostEvidence::Unknown);
            }
        }
    }
}
