//! What a death costs at least on this machine: what is left if everything of ours took no time.
//!
//! From `kill -9` of one process until another reads the end of a connection with it; six round trips on loopback (a
//! report, a ballot and a commit, each with an answer); and two syncs of 256 bytes (the leader's and a follower's
//! log). Measured in the same minute as what is compared with it: such machines differ by a factor of three from day
//! to day.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use coterie_common::Instant;
use coterie_common::clock::Clock;
use coterie_common::net::process::Failure;

/// Round trips of a death.
const ROUND_TRIPS: usize = 6;

/// Syncs of a death, one after the other.
const SYNCS: usize = 2;

/// Bytes of an entry of the log.
const ENTRY: [u8; 256] = [7; 256];

/// Whoever does not answer within this is not there.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked whether it is there.
const LOOKS_EVERY: Duration = Duration::from_millis(1);

/// The options of the process that is killed: nobody types them.
#[derive(Args, Clone, Debug)]
pub(super) struct HoldArgs {
    /// Where to connect
    address: SocketAddr,
}

/// Connects, says that it is there, and does nothing else until it is killed or the other end is gone.
pub(super) fn hold(args: &HoldArgs) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(args.address).map_err(Failure::running)?;
    stream.write_all(&[1]).map_err(Failure::running)?;
    let _ = stream.read(&mut [0]);
    Ok(())
}

/// What the floor is measured with.
#[derive(Debug)]
pub(super) struct Floor {
    listener: TcpListener,
    here: TcpStream,
    there: TcpStream,
    log: File,
}

impl Floor {
    /// Prepares it; the file that is synced is in that directory.
    pub(super) fn prepare(directory: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let here = TcpStream::connect(listener.local_addr()?)?;
        let (there, _) = listener.accept()?;
        for stream in [&here, &there] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        }
        let path: PathBuf = directory.join("floor");
        Ok(Floor { listener, here, there, log: File::create(path)? })
    }

    /// One measurement.
    pub(super) fn measure(&mut self) -> io::Result<Duration> {
        Ok(self.killed()? + self.round_trips()? + self.syncs()?)
    }

    fn killed(&self) -> io::Result<Duration> {
        let address = self.listener.local_addr()?.to_string();
        let program = std::env::current_exe()?;
        let child = Command::new(program)
            .args(["bench", "hold", &address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut child = Killed(child);
        let mut stream = self.accept(&mut child)?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        stream.read_exact(&mut [0])?;
        let clock = Clock::start();
        child.0.kill()?;
        let read = stream.read(&mut [0]);
        let took = elapsed(&clock);
        match read {
            Ok(0) => Ok(took),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(took),
            Ok(_) => Err(io::Error::other("who was killed speaks")),
            Err(error) => Err(error),
        }
    }

    /// The child's connection, unless it ends before it has one.
    fn accept(&self, child: &mut Killed) -> io::Result<TcpStream> {
        self.listener.set_nonblocking(true)?;
        let clock = Clock::start();
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
            if let Some(status) = child.0.try_wait()? {
                return Err(io::Error::other(format!("who was to be killed has ended by itself: {status}")));
            }
            if elapsed(&clock) > ANSWERS_WITHIN {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            std::thread::park_timeout(LOOKS_EVERY);
        }
    }

    fn round_trips(&mut self) -> io::Result<Duration> {
        let (here, there) = (&mut self.here, &mut self.there);
        std::thread::scope(|scope| {
            let echo = scope.spawn(|| {
                // One before the clock runs: this thread has begun when it is answered.
                for _ in 0..=ROUND_TRIPS {
                    let mut byte = [0];
                    there.read_exact(&mut byte)?;
                    there.write_all(&byte)?;
                }
                Ok(())
            });
            here.write_all(&[1])?;
            here.read_exact(&mut [0])?;
            let clock = Clock::start();
            for _ in 0..ROUND_TRIPS {
                here.write_all(&[1])?;
                here.read_exact(&mut [0])?;
            }
            let took = elapsed(&clock);
            echo.join().unwrap_or_else(|_| Err(io::Error::other("the echo has ended"))).map(|()| took)
        })
    }

    fn syncs(&mut self) -> io::Result<Duration> {
        let clock = Clock::start();
        for _ in 0..SYNCS {
            self.log.write_all(&ENTRY)?;
            self.log.sync_data()?;
        }
        Ok(elapsed(&clock))
    }
}

/// A process that does not stay, whatever happens.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn elapsed(clock: &Clock) -> Duration {
    clock.now().since(Instant::START)
}
