//! Paths that lose what is longer than it should be, and tell nobody: a tunnel behind a firewall that drops ICMP.

use coterie_lab::Material;

use super::Hosts;
use super::common::{Watched, wait_until};

pub(crate) fn a_path_on_which_large_packets_are_lost_is_good_enough(material: Material) {
    // The smallest that any path of IPv6 takes.
    const MOST: u16 = 1_280;
    let tag = format!("note={}", "x".repeat(900));
    let mut hosts = Hosts::form_with(material, 3, 5, &["--messages", "0", "--tag", &tag]);
    let (peer, leader) = (hosts.peers()[0], hosts.leader());
    let seed = hosts.seeds().into_iter().find(|seed| *seed != leader).expect("there are three");
    hosts.lab.lose_large(peer, MOST).unwrap();
    hosts.lab.lose_large(seed, MOST).unwrap();
    // A peer that joins is told of all members, which takes several packets; and so does what a seed missed.
    hosts.lab.stop(peer).unwrap();
    hosts.kill(seed);
    let mark = hosts.mark();
    hosts.start(peer);
    hosts.wait_for("its return", mark, &[peer], |_, e| e.event == "JOINED" && e.get("members") == "5");
    hosts.start(seed);
    hosts.wait_for("what it missed", mark, &[seed], |_, e| e.event == "VIEW" && e.get("members") == "5");
    hosts.wait_for("a link", mark, &[peer], |_, e| e.event == "LINK_UP");
    // It judges others rightly, and nobody finds it dead.
    let victim = hosts.neighbours(peer)[0];
    let mark = hosts.mark();
    let dead = hosts.address(victim);
    hosts.kill(victim);
    hosts.wait_for_death(mark, dead, &hosts.all_but(&[victim]));
    let mark = hosts.mark();
    hosts.start(victim);
    hosts.wait_for("its return", mark, &hosts.seeds(), |_, e| e.event == "REGISTERED");
    hosts.assert_nobody_died(mark);
    // On a path that takes even less it does not become a member, and says what it waits for.
    hosts.lab.stop(peer).unwrap();
    hosts.lab.lose_large(peer, 700).unwrap();
    hosts.start(peer);
    wait_until("the reason, at the peer", || {
        hosts.lab.stderr(peer).contains(" was asked, and has not answered yet")
    });
}
