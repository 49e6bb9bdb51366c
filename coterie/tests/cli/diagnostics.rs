//! What is said on stderr must not be able to harm who says it: it may be closed, or a pipe that nobody reads.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use coterie_common::Instant;
use coterie_common::clock::Clock;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::common::{DEADLINE, command, own_ip, run, wait_until};

/// What a pipe holds that nobody reads, on Linux.
const PIPE_BYTES: usize = 64 << 10;

/// How soon a node that is told to stop is gone, whatever its stderr does: a leave may take two seconds, the last lines
/// half a second.
const GONE_WITHIN: Duration = Duration::from_secs(4);

struct LoneSeed {
    process: Child,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl LoneSeed {
    /// A cluster of one seed, which is ready.
    fn start(stderr: Stdio, args: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind((own_ip(), 0)).unwrap().local_addr().unwrap();
        std::fs::write(directory.path().join("config.csv"), format!("{},{}\n", address.ip(), address.port()))
            .unwrap();
        let process = command()
            .args(["seed", &address.to_string()])
            .args(args)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let seed = LoneSeed { process, address, directory };
        wait_until("the seed to be ready", || seed.is_ready());
        seed
    }

    fn is_ready(&self) -> bool {
        run(&["seed", "--check", &self.address.to_string()]).status.success()
    }

    /// A stranger says something that is worth a line on stderr, and is sent away.
    fn annoy(&self) {
        let mut stranger = TcpStream::connect(self.address).unwrap();
        stranger.set_read_timeout(Some(DEADLINE)).unwrap();
        stranger.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        // Closed, in whichever way.
        let _ = stranger.read(&mut [0]);
    }

    fn stops_when_it_is_told_to(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        let clock = Clock::start();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        wait_until("its end", || self.process.try_wait().unwrap().is_some());
        let took = clock.now().since(Instant::START);
        assert!(took < GONE_WITHIN, "it took {took:?}");
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

impl Drop for LoneSeed {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Any stranger could end a node whose stderr was closed (`2>&1 | head -1`), by eighteen bytes at its port.
#[test]
fn a_node_whose_stderr_is_closed_runs_on() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut seed = LoneSeed::start(writer.into(), &[]);
    seed.annoy();
    assert!(seed.is_ready());
    assert_eq!(seed.process.try_wait().unwrap(), None);
    seed.stops_when_it_is_told_to();
}

/// One warning into a full pipe, and the node's only thread stood still for ever; not even SIGTERM was heard.
#[test]
fn a_node_whose_stderr_nobody_reads_runs_on_and_stops() {
    let (_reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&vec![b'x'; PIPE_BYTES]).unwrap();
    let seed = LoneSeed::start(writer.into(), &[]);
    seed.annoy();
    assert!(seed.is_ready());
    seed.stops_when_it_is_told_to();
}

#[test]
fn a_node_that_is_to_keep_no_log_file_makes_none() {
    let seed = LoneSeed::start(Stdio::null(), &["--log-file", "none"]);
    let files = std::fs::read_dir(seed.directory.path()).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["config.csv", "data"]);
    seed.stops_when_it_is_told_to();
}

/// A log file on a full disk: the lines were lost, and only who read stderr heard of it.
#[test]
fn a_log_that_takes_no_more_lines_stands_in_the_status() {
    let seed = LoneSeed::start(Stdio::null(), &["--log-file", "/dev/full"]);
    let status = || String::from_utf8(run(&["status", "--seed", &seed.address.to_string()]).stdout).unwrap();
    wait_until("the trouble", || status().contains(": /dev/full takes no more lines: "));
    assert!(seed.is_ready(), "a log is not what it works by");
    seed.stops_when_it_is_told_to();
}

/// Something else has taken all descriptors: nobody was let in, and nobody was told.
#[test]
fn a_node_that_can_open_no_connection_says_so_and_when_that_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stderr");
    let mut seed = LoneSeed::start(std::fs::File::create(&path).unwrap().into(), &[]);
    let said = |text: &str| std::fs::read_to_string(&path).unwrap().contains(text);
    let pid = Pid::from_raw(i32::try_from(seed.process.id()).unwrap());
    let few = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
    let as_before = prlimit(pid, Resource::Nofile, few).unwrap();
    let stranger = TcpStream::connect(seed.address).unwrap();
    wait_until("the trouble to be told", || said("no connection is accepted: Too many open files"));
    prlimit(pid, Resource::Nofile, as_before).unwrap();
    wait_until("it to be over", || said("no connection is accepted: over, after "));
    drop(stranger);
    assert!(seed.is_ready());
    assert_eq!(seed.process.try_wait().unwrap(), None);
    seed.stops_when_it_is_told_to();
}
