//! A session with a seed, of somebody who is no member or not yet.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::{self, dial_host};
use super::process::Failure;
use super::{ConnectionEvent, Outbox};
use crate::message::{CloseReason, SessionMessage};
use crate::seed_list::{parse_port, split_host_port};
use crate::{Address, Message, Wire};

/// How long a seed may take to be reached and to answer.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// How often who waits speaks, so that neither end takes the other for silent.
pub const PING_EVERY: Duration = Duration::from_secs(1);

/// An open session.
#[derive(Debug)]
pub struct Observer {
    name: String,
    outbox: Outbox,
    inbox: mpsc::Receiver<((), ConnectionEvent)>,
    me: Address,
    /// Pings since the seed said anything.
    unanswered: u32,
}

impl Observer {
    /// Opens one with `seed`, as it is named in a list.
    pub async fn open(seed: &str) -> Result<Self, Failure> {
        let name = seed.to_owned();
        let problem = |text: String| Failure::running(format!("{name}: {text}"));
        let (host, port) = split_host_port(&name).map_err(Failure::usage)?;
        let port = parse_port(port).map_err(Failure::usage)?;
        let stream = dial_host(host, port, ANSWER_TIME_MAX).await.map_err(problem)?;
        let me = Address::from(stream.local_addr()?);
        let (events, inbox) = mpsc::channel(64);
        let outbox = connection::spawn((), stream, events);
        Ok(Observer { name, outbox, inbox, me, unanswered: 0 })
    }

    /// The seed, as it was named.
    pub fn name(&self) -> &str {
        &self.name
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
            let event = self.inbox.recv().await;
            self.unanswered = 0;
            match event {
                Some(((), ConnectionEvent::Message { message: Message::Session(message), .. })) => {
                    return Ok(message);
                }
                Some((
                    (),
                    ConnectionEvent::Message { message: Message::Close(CloseReason::Refused(why)), .. },
                )) => {
                    return Err(self.failure(&why));
                }
                Some(((), ConnectionEvent::Message { message: Message::Close(reason), .. })) => {
                    return Err(self.failure(&reason.to_string()));
                }
                Some(((), ConnectionEvent::Message { .. } | ConnectionEvent::Drained)) => {}
                Some(((), ConnectionEvent::Ended(why))) => {
                    return Err(self.failure(&why.unwrap_or_else(|| "closed the connection".to_owned())));
                }
                None => return Err(self.failure("closed the connection")),
            }
        }
    }

    /// Says that it is there, for a session that is silent for long is ended; called every [`PING_EVERY`]. An error
    /// where the seed has answered nothing for as long as it may take.
    pub fn ping(&mut self) -> Result<(), Failure> {
        if PING_EVERY * self.unanswered >= ANSWER_TIME_MAX {
            return Err(self.no_answer());
        }
        self.unanswered += 1;
        let _ = self.outbox.say(&Message::Ping { nonce: 1 }, Wire::Native, self.me);
        Ok(())
    }

    fn no_answer(&self) -> Failure {
        self.failure("no answer")
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
                    Err(_) => self.ping()?,
                }
            }
        };
        match timeout(patience, found).await {
            Ok(found) => found,
            Err(_) => Err(self.no_answer()),
        }
    }

    /// A failure that names the seed.
    pub fn failure(&self, why: &str) -> Failure {
        Failure::running(format!("{}: {why}", self.name))
    }
}
