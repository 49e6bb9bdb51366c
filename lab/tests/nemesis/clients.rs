//! Clients: each owns an address and lives one life after the other there; readers ask who is there.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coterie::bench::stub_peer::StubPeer;
use coterie_common::message::{Candidate, Registration, Roster, SessionMessage};
use coterie_common::net::observer::Observer;
use coterie_common::{Address, Ending, Epoch, Event, Incarnation, Life, MemberId, Secret, Tags, Wire};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};

use super::common::{DEADLINE, LOOK_EVERY};
use super::history::{Answer, Call, History};

/// How long a client waits for an answer: some give up early.
const PATIENCE_MS: std::ops::Range<u64> = 300..12_000;

/// What all clients share.
pub(crate) struct Shared {
    pub(crate) history: Arc<History>,
    pub(crate) seeds: Vec<SocketAddr>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Shared {
    fn draw_seed(&self, rng: &mut StdRng) -> String {
        self.seeds[rng.random_range(0..self.seeds.len())].to_string()
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Lives at `address` until it is told to stop; returns what still lives there then.
pub(crate) async fn live(shared: Rc<Shared>, address: SocketAddr, number: u64) -> Option<(StubPeer, Life)> {
    let mut rng = StdRng::seed_from_u64(number);
    for secret in (1..).map(|number: u128| Secret(number.to_be_bytes())) {
        if !shared.goes_on() {
            break;
        }
        let place = place(address).await;
        let life = secret.life(place.address());
        place.live(life);
        let incarnation = register_until_admitted(&shared, place.address(), life, &mut rng).await;
        pause(&mut rng, 100..4_000).await;
        if !shared.goes_on() && incarnation.is_some() {
            return Some((place, life));
        }
        let leaves = incarnation.filter(|_| rng.random_range(0..2) == 0);
        let leaving = leaves.map(|incarnation| {
            let id = MemberId { address: place.address(), incarnation };
            let (seed, patience) = (shared.draw_seed(&mut rng), draw(&mut rng, PATIENCE_MS));
            tokio::task::spawn_local(leave(Rc::clone(&shared), seed, id, secret, patience))
        });
        if let Some(leaving) = leaving {
            // Some are gone before they know that they have left.
            match rng.random_range(0..3) {
                0 => pause(&mut rng, 0..50).await,
                _ => drop(leaving.await),
            }
        }
        shared.history.call("", Call::End { address: place.address(), life });
        drop(place);
        if rng.random_range(0..3) > 0 {
            pause(&mut rng, 100..3_000).await;
        }
    }
    None
}

/// A place where nobody answers yet; the one who was there before may not have gone entirely.
async fn place(address: SocketAddr) -> StubPeer {
    let freed = async {
        loop {
            match StubPeer::at(address) {
                Ok(place) => return place,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => sleep(LOOK_EVERY).await,
                Err(error) => panic!("{address}: {error}"),
            }
        }
    };
    timeout(DEADLINE, freed).await.unwrap_or_else(|_| panic!("waited {DEADLINE:?} for {address} to be free"))
}

/// Registers a life through one seed after the other, or through two at once; some give up.
async fn register_until_admitted(
    shared: &Rc<Shared>,
    address: Address,
    life: Life,
    rng: &mut StdRng,
) -> Option<Incarnation> {
    while rng.random_range(0..12) > 0 {
        let attempt = |seed, patience| register(Rc::clone(shared), seed, address, life, patience);
        let first = attempt(shared.draw_seed(rng), draw(rng, PATIENCE_MS));
        let second = attempt(shared.draw_seed(rng), draw(rng, PATIENCE_MS));
        let incarnation = match rng.random_range(0..4) {
            0 => {
                let (one, other) = tokio::join!(first, second);
                one.or(other)
            }
            _ => first.await,
        };
        if incarnation.is_some() || !shared.goes_on() {
            return incarnation;
        }
        pause(rng, 20..300).await;
    }
    None
}

async fn register(
    shared: Rc<Shared>,
    seed: String,
    address: Address,
    life: Life,
    patience: Duration,
) -> Option<Incarnation> {
    let mut session = open(&seed, patience).await?;
    let number = shared.history.call(&seed, Call::Register { address, life });
    session.say(SessionMessage::Register(Candidate { address, life, wire: Wire::Native, tags: Tags::new() }));
    let answered = wait(&mut session, patience, |message| match message {
        SessionMessage::Registered(Registration::Admitted { incarnation, roster }) => {
            Some(Answer::Admitted { incarnation, roster })
        }
        SessionMessage::Registered(Registration::Refused(refusal)) => Some(Answer::of_refused(refusal)),
        _ => None,
    });
    let answer = answered.await;
    let incarnation = match &answer {
        Answer::Admitted { incarnation, .. } => Some(*incarnation),
        Answer::Left | Answer::Ended | Answer::Members(_) | Answer::Refused(_) | Answer::Unknown(_) => None,
    };
    shared.history.answer(number, answer);
    incarnation
}

async fn leave(shared: Rc<Shared>, seed: String, id: MemberId, secret: Secret, patience: Duration) {
    let life = secret.life(id.address);
    let Some(mut session) = open(&seed, patience).await else { return };
    let number = shared.history.call(&seed, Call::Leave { id, life });
    // A member says of which cluster it is before it says who it is.
    session.say(SessionMessage::Cluster(None));
    let named = session.wait_for(patience, |message| match message {
        SessionMessage::Cluster(cluster) => cluster,
        _ => None,
    });
    match named.await {
        Ok(cluster) => session.say(SessionMessage::Cluster(Some(cluster))),
        Err(failure) => return shared.history.answer(number, Answer::Unknown(format!("{failure:?}"))),
    };
    // From that epoch on it is told what happened, its own departure too.
    session.say(SessionMessage::Open { member: id, life, epoch: Epoch(id.incarnation.0) });
    session.say(SessionMessage::Leave { member: id, secret });
    let answered = wait(&mut session, patience, |message| {
        let is_left = match message {
            SessionMessage::Changes { changes, .. } => changes.iter().find_map(|change| match change.event {
                Event::Left(left) if left == id => Some(true),
                Event::Died(old) | Event::Replaced { old, .. } if old == id => Some(false),
                Event::Left(_) | Event::Died(_) | Event::Replaced { .. } | Event::Joined(_) => None,
            }),
            SessionMessage::Whole { ended, .. } => {
                ended.iter().find(|ended| ended.id == id).map(|ended| ended.how == Ending::Left)
            }
            _ => None,
        };
        is_left.map(|is_left| if is_left { Answer::Left } else { Answer::Ended })
    });
    shared.history.answer(number, answered.await);
}

/// Reads until it is told to stop.
pub(crate) async fn keep_reading(shared: Rc<Shared>, number: u64) {
    let mut rng = StdRng::seed_from_u64(number);
    while shared.goes_on() {
        let (seed, patience) = (shared.draw_seed(&mut rng), draw(&mut rng, PATIENCE_MS));
        read(&shared, &seed, rng.random_range(0..3) > 0, patience).await;
        pause(&mut rng, 20..200).await;
    }
}

/// Who is there, as `seed` has it.
pub(crate) async fn read(
    shared: &Shared,
    seed: &str,
    is_linearizable: bool,
    patience: Duration,
) -> Option<Roster> {
    let mut session = open(seed, patience).await?;
    let number = shared.history.call(seed, Call::Read { is_linearizable });
    session.say(SessionMessage::Observe { linearizable: is_linearizable });
    let answered = wait(&mut session, patience, |message| match message {
        SessionMessage::Whole { roster, .. } => Some(Answer::Members(roster)),
        _ => None,
    });
    let answer = answered.await;
    shared.history.answer(number, answer.clone());
    match answer {
        Answer::Members(roster) => Some(roster),
        Answer::Admitted { .. } | Answer::Left | Answer::Ended | Answer::Refused(_) | Answer::Unknown(_) => {
            None
        }
    }
}

/// Who cannot reach a seed has asked it nothing.
async fn open(seed: &str, patience: Duration) -> Option<Observer> {
    timeout(patience, Observer::open(seed)).await.ok()?.ok()
}

/// Waits for the answer that `wanted` knows.
async fn wait(
    session: &mut Observer,
    patience: Duration,
    wanted: impl Fn(SessionMessage) -> Option<Answer>,
) -> Answer {
    let answer = session.wait_for(patience, wanted).await;
    answer.unwrap_or_else(|failure| Answer::Unknown(format!("{failure:?}")))
}

pub(crate) fn draw(rng: &mut StdRng, millis: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(millis))
}

async fn pause(rng: &mut StdRng, millis: std::ops::Range<u64>) {
    sleep(draw(rng, millis)).await;
}
