//! A session with a seed, of somebody who is no member or not yet.

use std::time::Duration;

use coterie_common::message::{CloseReason, SessionMessage};
use coterie_common::net::connection::dial;
use coterie_common::net::process::Failure;
use coterie_common::net::{Event, Outbox, connection, resolve};
use coterie_common::seed_list::{parse_port, split_host_port};
use coterie_common::{Address, Message, Wire};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a seed may take to be reached and to answer.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// How often who waits speaks, so that neither end takes the other for silent.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(1);

/// An open session.
pub struct Session {
    name: String,
    outbox: Outbox,
    inbox: mpsc::Receiver<((), Event)>,
    me: Address,
}

impl Session {
    /// Opens one with `seed`, as it is named in a list.
    pub async fn open(seed: &str) -> Result<Self, Failure> {
        let name = seed.to_owned();
        let problem = |text: String| Failure::running(format!("{name}: {text}"));
        let (host, port) = split_host_port(&name).map_err(Failure::usage)?;
        let port = parse_port(port).map_err(Failure::usage)?;
        let address = resolve::resolve(host, port).await.map_err(problem)?;
        let stream = dial(address, ANSWER_TIME_MAX).await.map_err(|e| problem(e.to_string()))?;
        let me = Address::from(stream.local_addr()?);
        let (events, inbox) = mpsc::channel(64);
        let outbox = connection::spawn((), stream, events);
        Ok(Session { name, outbox, inbox, me })
    }

    /// This end of it.
    pub fn me(&self) -> Address {
        self.me
    }

    /// Says something.
    pub fn say(&self, message: SessionMessage) {
        // An observer says a few bytes a second: its outbox is never full.
        let _ = self.outbox.say(&Message::Session(message), Wire::Native, self.me);
    }

    /// The next message of the session.
    pub async fn next(&mut self) -> Result<SessionMessage, Failure> {
        loop {
            match self.inbox.recv().await {
                Some(((), Event::Message { message: Message::Session(message), .. })) => return Ok(message),
                Some(((), Event::Message { message: Message::Close(CloseReason::Refused(why)), .. })) => {
                    return Err(self.failure(&why));
                }
                Some(((), Event::Message { message: Message::Close(reason), .. })) => {
                    return Err(self.failure(&reason.to_string()));
                }
                Some(((), Event::Message { .. } | Event::Drained)) => {}
                Some(((), Event::Ended(_))) | None => return Err(self.failure("closed the connection")),
            }
        }
    }

    /// Says that it is there: a session that is silent for long is ended.
    pub fn ping(&self) {
        let _ = self.outbox.say(&Message::Ping { nonce: 1 }, Wire::Native, self.me);
    }

    /// The next message, if it comes soon.
    pub async fn answer(&mut self) -> Result<SessionMessage, Failure> {
        self.wait_for(ANSWER_TIME_MAX, Some).await
    }

    /// Waits so long for what `wanted` finds in a message, and says meanwhile that somebody is there.
    pub async fn wait_for<T>(
        &mut self,
        patience: Duration,
        wanted: impl Fn(SessionMessage) -> Option<T>,
    ) -> Result<T, Failure> {
        let found = async {
            loop {
                match timeout(PING_EVERY, self.next()).await {
                    Ok(message) => {
                        if let Some(found) = wanted(message?) {
                            return Ok(found);
                        }
                    }
                    Err(_) => self.ping(),
                }
            }
        };
        match timeout(patience, found).await {
            Ok(found) => found,
            Err(_) => Err(self.failure("no answer")),
        }
    }

    /// A failure that names the seed.
    pub fn failure(&self, why: &str) -> Failure {
        Failure::running(format!("{}: {why}", self.name))
    }
}
