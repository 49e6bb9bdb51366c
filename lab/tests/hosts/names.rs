//! Names, and a name service made for the test: its files stand in the place of the system's, for one process alone.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use coterie::cluster::process::DIES_WITH;
use coterie_common::Instant;
use coterie_common::clock::Clock;

use super::common::{TestCluster, own_ip, program};

/// A look-up that nobody answers takes the system twenty seconds; nothing of ours may wait for it.
const LOOK_UP: &str = "options timeout:10 attempts:2";
const SOON: Duration = Duration::from_secs(4);

/// The program, to which `file` is what the system has at `path`.
fn with_file(file: &Path, path: &str, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    command.args(["-m", "sh", "-c", script, "sh"]).arg(file).arg(path).arg(program()).args(args);
    command.env(DIES_WITH, std::process::id().to_string());
    command
}

pub(crate) fn a_name_server_that_is_silent_holds_up_no_end() {
    let server = UdpSocket::bind((own_ip(), 53)).unwrap();
    let files = tempfile::tempdir().unwrap();
    let resolver = files.path().join("resolv.conf");
    let ip = server.local_addr().unwrap().ip();
    std::fs::write(&resolver, format!("nameserver {ip}\n{LOOK_UP}\n")).unwrap();
    let clock = Clock::start();
    let checked =
        with_file(&resolver, "/etc/resolv.conf", &["seed", "--check", "seed.example:5001"]).output();
    let checked = checked.unwrap();
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(clock.now() < Instant::START + SOON, "{checked:?} after {:?}", clock.now());
    server.set_read_timeout(Some(SOON)).unwrap();
    server.recv(&mut [0; 512]).expect("the name server was asked");

    // A member whose list has such a name is gone when it has said so.
    let mut cluster = TestCluster::form(1, 0, &[]);
    let (seed, list) = (cluster.address(0), files.path().join("config.csv"));
    std::fs::write(&list, format!("{},{}\ngone.example,5002\n", seed.ip(), seed.port())).unwrap();
    let place = format!("{}:{}", own_ip(), seed.port());
    let args = ["peer", &place, "--log-file", "none", "--messages", "0", "--config", list.to_str().unwrap()];
    let mut peer = with_file(&resolver, "/etc/resolv.conf", &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(peer.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(" JOINED ")));
    let clock = Clock::start();
    let pid = rustix::process::Pid::from_raw(i32::try_from(peer.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(lines.any(|line| line.contains(" SHUTTING_DOWN")));
    assert_eq!(peer.wait().unwrap().code(), Some(0));
    assert!(clock.now() < Instant::START + SOON, "gone {:?} after it was told to stop", clock.now());
    assert!(cluster.cluster.is_alive(0));
}

pub(crate) fn of_a_name_with_several_addresses_all_are_tried() {
    // The lower one first: nobody listens there.
    let nobody = own_ip();
    let mut cluster = TestCluster::form(1, 1, &["--messages", "0"]);
    let seed = cluster.address(0);
    assert!(nobody < seed.ip());
    let files = tempfile::tempdir().unwrap();
    let hosts = files.path().join("hosts");
    std::fs::write(&hosts, format!("{nobody} seeds.example\n{} seeds.example\n", seed.ip())).unwrap();
    let name = format!("seeds.example:{}", seed.port());
    let shown = with_file(&hosts, "/etc/hosts", &["members", "--seed", &name]).output().unwrap();
    assert!(shown.status.success(), "{shown:?}");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("1 members"), "{shown:?}");
    assert!(cluster.cluster.is_alive(0));
}
