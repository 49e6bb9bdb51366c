//! Probes over loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use coterie_common::net::icmp::Pinger;
use coterie_common::net::probe::Prober;
use coterie_common::{Address, Effort, Finding, Life, ProbeOrder, Wire};

const PATIENCE: Duration = Duration::from_millis(300);

fn order(address: Address) -> ProbeOrder {
    ProbeOrder {
        address,
        life: Life::NONE,
        wire: Wire::Native,
        patience: PATIENCE,
        open_within: PATIENCE,
        round_trip: Duration::ZERO,
        effort: Effort::Whole,
    }
}

fn prober(me: Address) -> Prober {
    Prober::new(me, Arc::new(Pinger::new().0))
}

/// A listener whose connections the kernel opens, and which never says a word.
fn mute() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    (listener, address)
}

#[tokio::test]
async fn who_accepts_and_says_nothing_is_silent() {
    let (_listener, address) = mute();
    assert_eq!(prober(address).probe(order(address)).await.0, Finding::Silent);
}

/// Who is only busy is not given more to do. With so little time that nothing is repeated the number has to do.
#[tokio::test]
async fn no_further_connection_is_opened_while_three_are_open_and_silent() {
    for (patience, expected) in [(Duration::from_millis(700), 3), (Duration::from_millis(300), 8)] {
        let (listener, address) = mute();
        let order = ProbeOrder { patience, open_within: patience, ..order(address) };
        assert_eq!(prober(address).probe(order).await.0, Finding::Silent);
        listener.set_nonblocking(true).unwrap();
        let opened = std::iter::from_fn(|| listener.accept().ok()).count();
        assert_eq!(opened, expected, "within {patience:?}");
    }
}

#[tokio::test]
async fn where_nobody_listens_the_probe_is_refused() {
    let (listener, address) = mute();
    drop(listener);
    assert_eq!(prober(address).probe(order(address)).await.0, Finding::Refused);
}

/// The prober's only thread stood still until long after its patience was over. An answer may be waiting unread: its
/// silence was once taken for the suspect's.
#[tokio::test]
async fn a_prober_that_stood_still_has_found_nothing() {
    let (_listener, address) = mute();
    let standing_still = async {
        tokio::task::yield_now().await;
        std::thread::park_timeout(PATIENCE * 3);
    };
    let prober = prober(address);
    let ((finding, _), ()) = tokio::join!(prober.probe(order(address)), standing_still);
    assert_eq!(finding, Finding::CannotProbe);
}
