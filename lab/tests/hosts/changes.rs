//! From where the seeds are changed.

use std::process::{Command, Output};

use coterie_lab::{Material, enter};

use super::Hosts;
use super::common::program;

/// What a program on that host is told.
fn run_on(hosts: &mut Hosts, host: usize, args: &[&str]) -> Output {
    let network = hosts.lab.network(host).unwrap();
    let run = || {
        enter(&network).expect("root may");
        Command::new(program()).args(args).output().expect("the program runs")
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

pub(crate) fn seeds_are_changed_by_a_program_on_a_seeds_own_host(material: Material) {
    let mut hosts = Hosts::form(material, 3, 2);
    let (seed, elsewhere) = (hosts.seeds()[0], hosts.peers()[0]);
    let own = hosts.address(seed).to_string();
    let add = ["seed-add", "192.0.2.1:5014", "--seed", &own];
    let refused = run_on(&mut hosts, elsewhere, &add);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success(), "{said}");
    assert!(
        said.contains("not_allowed: this seed takes changes of the seeds from programs on its own host"),
        "{said}"
    );
    // By the host's address in the network, not by that of loopback.
    let taken = run_on(&mut hosts, seed, &add);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    // Whoever has a list asks until it is allowed.
    let list = hosts.lab.path().join("list-of-all.csv");
    let others = [2, 1, 0].map(|seed| hosts.address(hosts.seeds()[seed]));
    std::fs::write(&list, others.map(|other| format!("{},{}\n", other.ip(), other.port())).concat()).unwrap();
    let list = list.display().to_string();
    let removed = run_on(&mut hosts, seed, &["seed-remove", "192.0.2.1:5014", "--config", &list]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
}
