//! ICMP as evidence about a host, for the record only: it answers for a paused process too.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use surge_ping::{Client, Config, ICMP, IcmpPacket, PingIdentifier, PingSequence, SurgeError};

use crate::HostEvidence;

/// Sends echo requests, where the system lets it.
pub struct Pinger {
    v4: Option<Client>,
    v6: Option<Client>,
    /// One counter for all: unprivileged sockets match replies by address and sequence alone.
    sequence: AtomicU16,
}

impl Pinger {
    /// A pinger, and what it may not do, if so: to be said once and survived.
    pub fn new() -> (Self, Option<String>) {
        if cfg!(coterie_simulated) {
            // A simulated network has no ICMP.
            return (Pinger { v4: None, v6: None, sequence: AtomicU16::new(0) }, None);
        }
        let v4 = Client::new(&Config::default());
        let v6 = Client::new(&Config::builder().kind(ICMP::V6).build());
        let trouble = v4.as_ref().err().map(trouble);
        (Pinger { v4: v4.ok(), v6: v6.ok(), sequence: AtomicU16::new(0) }, trouble)
    }

    /// Whether `ip` answers within `patience`.
    pub async fn ping(&self, ip: IpAddr, patience: Duration) -> HostEvidence {
        let client = if ip.is_ipv4() { &self.v4 } else { &self.v6 };
        let Some(client) = client else { return HostEvidence::Unknown };
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
            None => assert_eq!(local, HostEvidence::Answers),
            Some(trouble) => {
                assert!(trouble.starts_with("no ICMP ("), "{trouble}");
                assert_eq!(local, HostEvidence::Unknown);
            }
        }
    }
}
