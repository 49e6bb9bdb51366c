//! The program: threads, blocking sockets, and the habits that such programs have.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::common::{TestCluster, wait_until};
use super::wire::*;

/// What a connection of the program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Opened to the seed at that address, and kept.
    Seed(SocketAddr),
    /// A link that the program dialled.
    Dialled(SocketAddr),
    /// Accepted: a link once HELLO has come, a question before.
    Accepted,
}

pub(crate) struct Connection {
    pub kind: Kind,
    pub stream: TcpStream,
    /// The listening address that HELLO named, or that was dialled.
    pub neighbour: Option<String>,
    pub ended: bool,
}

/// A frame that the program has read: on which of its connections, and what.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub connection: u64,
    pub message: Value,
}

impl Heard {
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.message["type"] == kind
    }
}

/// In what such programs differ.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// How long a check of a suspect takes, while nothing is answered on the connection that asked for it.
    pub busy: Duration,
    /// Whether it forwards a message as it understood it: without the fields that it does not know.
    pub strips: bool,
}

pub(crate) struct Inside {
    pub me: SocketAddr,
    pub habits: Habits,
    pub connections: Mutex<BTreeMap<u64, Connection>>,
    pub last_connection: AtomicU64,
    pub heard: Mutex<Vec<Heard>>,
    /// Hashes of the contents heard or said.
    pub known: Mutex<BTreeSet<String>>,
    pub paused: Mutex<bool>,
    pub resumed: Condvar,
    pub dead: AtomicBool,
}

pub(crate) struct Program {
    pub inside: Arc<Inside>,
    pub listening: Option<JoinHandle<()>>,
}

impl Inside {
    /// Stands still while the program is paused.
    pub(crate) fn gate(&self) {
        let mut paused = self.paused.lock().expect("no thread panics with it");
        while *paused {
            paused = self.resumed.wait(paused).expect("no thread panics with it");
        }
    }

    pub(crate) fn keep(self: &Arc<Self>, stream: TcpStream, kind: Kind, neighbour: Option<String>) -> u64 {
        stream.set_read_timeout(None).expect("an option of every socket");
        let number = self.last_connection.fetch_add(1, Ordering::SeqCst) + 1;
        let own = stream.try_clone().expect("a descriptor is left");
        let connection = Connection { kind, stream, neighbour, ended: false };
        self.connections.lock().expect("no thread panics with it").insert(number, connection);
        let inside = Arc::clone(self);
        std::thread::spawn(move || inside.read(number, &own));
        number
    }

    pub(crate) fn read(&self, number: u64, stream: &TcpStream) {
        while let Ok(message) = read_message(stream) {
            self.gate();
            if self.dead.load(Ordering::SeqCst) {
                break;
            }
            self.heard
                .lock()
                .expect("no thread panics with it")
                .push(Heard { connection: number, message: message.clone() });
            if self.handle(number, stream, message).is_err() {
                break;
            }
        }
        if let Some(connection) = self.connections.lock().expect("no thread panics with it").get_mut(&number)
        {
            connection.ended = true;
        }
        // A program drops what has ended.
        let _ = stream.shutdown(Shutdown::Both);
    }

    pub(crate) fn handle(&self, number: u64, stream: &TcpStream, message: Value) -> io::Result<()> {
        let (ip, port) = (self.me.ip().to_string(), self.me.port());
        match text(&message, "type") {
            "HELLO" => {
                let mut connections = self.connections.lock().expect("no thread panics with it");
                connections.get_mut(&number).expect("it reads on it").neighbour =
                    Some(address_in(&message, ""));
                Ok(())
            }
            "PING" => write_frame(stream, &json!({"type": "PONG", "from_ip": ip, "from_port": port})),
            "GOSSIP" => {
                self.forward(number, message);
                Ok(())
            }
            "SUSPECT_REQUEST" => {
                if !self.habits.busy.is_zero() {
                    std::thread::park_timeout(self.habits.busy);
                }
                let suspect = address_in(&message, "suspect_");
                let alive = TcpStream::connect(&suspect).is_ok();
                write_frame(
                    stream,
                    &json!({
                        "type": "SUSPECT_RESPONSE", "suspect_ip": message["suspect_ip"],
                        "suspect_port": message["suspect_port"], "alive": alive,
                        "responder_ip": ip, "responder_port": port,
                    }),
                )
            }
            _ => Ok(()),
        }
    }

    /// New by its content: to every neighbour but the one that it came from, on the newest connection with it.
    pub(crate) fn forward(&self, from: u64, mut message: Value) {
        let content = text(&message, "content").to_owned();
        assert_eq!(text(&message, "hash"), sha256_hex(&content), "the hash of {message}");
        if !self.known.lock().expect("no thread panics with it").insert(sha256_hex(&content)) {
            return;
        }
        if self.habits.strips {
            message
                .as_object_mut()
                .expect("it has fields")
                .retain(|field, _| !["id", "seq", "incarnation"].contains(&field.as_str()));
        }
        message["sender_ip"] = json!(self.me.ip().to_string());
        message["sender_port"] = json!(self.me.port());
        let connections = self.connections.lock().expect("no thread panics with it");
        let sender = connections[&from].neighbour.clone();
        let mut newest: BTreeMap<&String, &Connection> = BTreeMap::new();
        for connection in connections.values().filter(|c| !c.ended && c.neighbour != sender) {
            if let Some(neighbour) = &connection.neighbour {
                newest.insert(neighbour, connection);
            }
        }
        for connection in newest.values() {
            // A neighbour that has just died is noticed by its reader.
            let _ = write_frame(&connection.stream, &message);
        }
    }
}

impl Program {
    /// Begins to listen at a free port of `ip`, none of those of `cluster`.
    pub(crate) fn start(cluster: &TestCluster) -> Self {
        Self::start_with(cluster, Habits::default())
    }

    /// Registered with every seed.
    pub(crate) fn joined(cluster: &TestCluster) -> Self {
        let program = Self::start(cluster);
        program.join(cluster);
        program
    }

    pub(crate) fn start_with(cluster: &TestCluster, habits: Habits) -> Self {
        let taken: Vec<SocketAddr> = (0..cluster.cluster.nodes.len()).map(|i| cluster.socket(i)).collect();
        let mut refused = Vec::new();
        let listener = loop {
            let listener = TcpListener::bind((cluster.ip, 0)).expect("a port is free");
            if !taken.contains(&listener.local_addr().expect("it is bound")) {
                break listener;
            }
            refused.push(listener);
        };
        Self::listen(listener, habits)
    }

    /// Begins to listen at `me`.
    pub(crate) fn start_at(me: SocketAddr) -> Self {
        let mut bound = None;
        wait_until(&format!("{me} to be free"), || {
            bound = TcpListener::bind(me).ok();
            bound.is_some()
        });
        Self::listen(bound.expect("waited for it"), Habits::default())
    }

    pub(crate) fn listen(listener: TcpListener, habits: Habits) -> Self {
        let inside = Arc::new(Inside {
            me: listener.local_addr().expect("it is bound"),
            habits,
            connections: Mutex::default(),
            last_connection: AtomicU64::new(0),
            heard: Mutex::default(),
            known: Mutex::default(),
            paused: Mutex::new(false),
            resumed: Condvar::new(),
            dead: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&inside);
        let listening = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                accepting.gate();
                if accepting.dead.load(Ordering::SeqCst) {
                    return;
                }
                accepting.keep(stream, Kind::Accepted, None);
            }
        });
        Program { inside, listening: Some(listening) }
    }

    pub(crate) fn me(&self) -> SocketAddr {
        self.inside.me
    }

    pub(crate) fn name(&self) -> String {
        self.inside.me.to_string()
    }

    pub(crate) fn register_request(&self) -> Value {
        json!({"type": "REGISTER_REQUEST", "ip": self.me().ip().to_string(), "port": self.me().port()})
    }

    /// Registers with the seed at `seed` on a connection that it keeps, and returns the answer.
    pub(crate) fn register(&self, seed: SocketAddr) -> Value {
        let stream = connect(seed);
        write_frame(&stream, &self.register_request()).expect("the seed reads");
        let answer = read_message(&stream).expect("the seed answers");
        assert_eq!(answer["type"], "REGISTER_RESPONSE", "{answer}");
        self.inside.keep(stream, Kind::Seed(seed), None);
        answer
    }

    /// Registers with every seed, one after the other; each must say ok.
    pub(crate) fn join(&self, cluster: &TestCluster) {
        for seed in cluster.seeds() {
            let answer = self.register(cluster.socket(seed));
            assert_eq!(answer["status"], "ok", "{answer}");
        }
    }

    /// Dials a neighbour and says HELLO; returns the connection's number.
    pub(crate) fn dial(&self, peer: SocketAddr) -> u64 {
        let stream = connect(peer);
        let hello = json!({"type": "HELLO", "ip": self.me().ip().to_string(), "port": self.me().port()});
        write_frame(&stream, &hello).expect("the peer reads");
        self.inside.keep(stream, Kind::Dialled(peer), Some(peer.to_string()))
    }

    /// What the program would say, without any field that is ours.
    pub(crate) fn gossip(&self, content: &str) -> Value {
        json!({
            "type": "GOSSIP", "content": content, "hash": sha256_hex(content),
            "origin_ip": self.me().ip().to_string(), "origin_port": self.me().port(),
        })
    }

    pub(crate) fn say_on(&self, connection: u64, message: &Value) {
        self.inside
            .known
            .lock()
            .expect("no thread panics with it")
            .insert(sha256_hex(text(message, "content")));
        let connections = self.inside.connections.lock().expect("no thread panics with it");
        write_frame(&connections[&connection].stream, message).expect("the neighbour reads");
    }

    /// Writes on the connection that is kept to the seed at `seed`.
    pub(crate) fn tell_seed(&self, seed: SocketAddr, message: &Value) {
        let connections = self.inside.connections.lock().expect("no thread panics with it");
        let open =
            connections.values().find(|c| c.kind == Kind::Seed(seed) && !c.ended).expect("a session is open");
        write_frame(&open.stream, message).expect("the seed reads");
    }

    pub(crate) fn report(&self, seed: SocketAddr, dead: SocketAddr) {
        self.tell_seed(
            seed,
            &json!({
                "type": "DEAD_REPORT", "dead_ip": dead.ip().to_string(), "dead_port": dead.port(),
                "timestamp": 1_763_617_490.25, "reporter": "192.0.2.7:99",
            }),
        );
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.inside.heard.lock().expect("no thread panics with it").clone()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Heard) -> bool) -> usize {
        self.heard().iter().filter(|heard| wanted(heard)).count()
    }

    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Heard) -> bool) {
        wait_until(what, || self.heard().iter().any(&wanted));
    }

    /// The numbers of its connections of a kind, oldest first.
    pub(crate) fn connections(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<u64> {
        let connections = self.inside.connections.lock().expect("no thread panics with it");
        connections.iter().filter(|(_, c)| wanted(c)).map(|(number, _)| *number).collect()
    }

    pub(crate) fn is_neighbour_of(&self, peer: SocketAddr) -> bool {
        !self.connections(|c| !c.ended && c.neighbour.as_deref() == Some(&peer.to_string())).is_empty()
    }

    /// The seed that a connection was opened to.
    pub(crate) fn seed_of(&self, number: u64) -> Option<SocketAddr> {
        match self.inside.connections.lock().expect("no thread panics with it")[&number].kind {
            Kind::Seed(seed) => Some(seed),
            Kind::Dialled(_) | Kind::Accepted => None,
        }
    }

    /// How often each seed told on its connections that `dead` died.
    pub(crate) fn deaths_told(&self, dead: SocketAddr) -> BTreeMap<SocketAddr, usize> {
        let mut told = BTreeMap::new();
        for heard in self.heard().iter().filter(|h| h.is("DEAD_CONFIRMED")) {
            if address_in(&heard.message, "dead_") == dead.to_string() {
                let seed = self.seed_of(heard.connection).expect("told on a session with a seed only");
                *told.entry(seed).or_insert(0) += 1;
            }
        }
        told
    }

    pub(crate) fn close(&self, number: u64) {
        let connections = self.inside.connections.lock().expect("no thread panics with it");
        connections[&number].stream.shutdown(Shutdown::Both).expect("it was open");
    }

    /// Stands still and holds its sockets.
    pub(crate) fn pause(&self) {
        *self.inside.paused.lock().expect("no thread panics with it") = true;
    }

    pub(crate) fn resume(&self) {
        *self.inside.paused.lock().expect("no thread panics with it") = false;
        self.inside.resumed.notify_all();
    }

    /// Dies: the listener and every socket are closed when this returns, nothing is said.
    pub(crate) fn kill(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        self.inside.dead.store(true, Ordering::SeqCst);
        self.resume();
        // Whoever waits in accept is woken to find itself dead. It fails only when that has happened already.
        let _ = TcpStream::connect(self.me());
        let _ = listening.join();
        let mut connections = self.inside.connections.lock().expect("no thread panics with it");
        for connection in connections.values_mut() {
            // What has ended already cannot be shut down again.
            let _ = connection.stream.shutdown(Shutdown::Both);
            connection.ended = true;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
