//! Every limit and time-out that is not an option, with its unit and its reason.
//!
//! What overflows one of them is refused with an error that names it, counted, and tested. Numbers marked
//! *a guess* have no better foundation than judgement; the others say where they come from.

use std::time::Duration;

use crate::knob::Knob;

/// Longest payload of one frame, in bytes. Twice the longest gossip message, so that its envelope fits; and
/// below 2^24, so that the first byte of a connection tells a length (0x00) from TLS (0x16).
pub const FRAME_BYTES_MAX: usize = 2 << 20;

/// Longest content of one gossip message, in bytes.
pub const CONTENT_BYTES_MAX: usize = 1 << 20;

/// Longest name on whose behalf something is said, in bytes: a host name of 253 and a port.
pub const VIA_BYTES_MAX: usize = 259;

/// Members in the peer list that a JSON program is given; more become a random sample of so many.
pub const JSON_PEER_LIST_MAX: usize = 5_000;

/// Tags of one member, in bytes of keys and values together: every member holds everybody's.
pub const TAG_BYTES_MAX: usize = 16 << 10;

/// Tags of all members together, in bytes: every new member is sent them all in one frame.
pub const ALL_TAGS_BYTES_MAX: usize = 512 << 10;

/// Seeds of a cluster: every entry waits for a majority of them, and each of them makes every probe. A guess; three or
/// five are usual.
pub const SEEDS_MAX: usize = 64;

/// Members of a cluster. Up to 46 bytes each in the frame that brings a new member the whole view, which must stay
/// below [`FRAME_BYTES_MAX`] together with all tags and ended lives.
pub const MEMBERS_MAX: usize = 25_000;

/// Deaths in one entry of the log: so many votes and jurors still fit a frame.
pub const DEATHS_PER_ENTRY_MAX: usize = 256;

/// Links that a JSON program can push a peer to; native ones are limited by `--max-neighbours`.
pub const LINKS_MAX: usize = 256;

/// Connections that a node keeps at once. Half of the 20,000 descriptors that a machine can be counted on
/// to have; the other half is for probes, questions and files.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Descriptors without which no process of ours begins: what it opens before it does anything, with a little room.
pub const DESCRIPTORS_MIN: u64 = 32;

/// Descriptors that no accepted connection takes, beside a quarter of all: files and timers, connections with the other
/// seeds, probes, and who asks how the node is.
pub const DESCRIPTORS_SET_ASIDE: u64 = 16;

/// Connections beyond those that a node may keep, each taken in until a newer one comes, so that a node that has all it
/// may still answers who asks whether it lives. They are of the descriptors that are set aside.
pub const GUESTS_MAX: usize = 8;

/// Bytes that wait to be written to one connection. A reader slower than that is cut off rather than waited
/// for: room for the frame that carries a view of 100,000 members, several times over.
pub const OUTBOX_BYTES_MAX: usize = 32 << 20;

/// Frames that wait to be written to one connection: a guess.
pub const OUTBOX_FRAMES_MAX: usize = 16_384;

/// Inbound frames of all connections that wait for the core; the sockets' own windows hold back the rest.
pub const INBOX_FRAMES_MAX: usize = 1_024;

/// Longest time from the first to the last byte of one frame: 1 MiB at 1 Mbit/s takes 8 s.
pub const FRAME_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest time for which a remote may take nothing of what waits to be written to it.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// Longest time a new connection may say nothing before it is closed. JSON programs connect and close at
/// once to probe; nobody opens a connection to be silent on it.
pub const FIRST_FRAME_TIME_MAX: Duration = Duration::from_secs(10);

/// Suspicions that one peer pursues at once; a mass death beyond that is left to the seeds' absence check.
pub const SUSPICIONS_MAX: Knob<usize> = Knob::new("SUSPICIONS_MAX", 256);

/// Probes that a peer carries out at once; what more it is asked to judge, others have to.
pub const PROBES_MAX: Knob<usize> = Knob::new("PROBES_MAX", 256);

/// Probes that a seed carries out at once, those with one connection among them: as many as ballots may be open.
pub const PROBES_OF_A_SEED_MAX: Knob<usize> = Knob::new("PROBES_OF_A_SEED_MAX", 4_096);

/// Joiners that a seed probes at once, and about whom a leader asks at once; more wait for their turn. On a local
/// network that is several thousand in a second, over round trips of 100 ms about two hundred. With 256, two thousand
/// that came together on one machine were each probed while it was busy with the others, and none was admitted.
pub const JOINERS_PROBED_MAX: Knob<usize> = Knob::new("JOINERS_PROBED_MAX", 64);

/// What sessions asked of one seed and the leader has not decided yet: twice what the leader conducts.
pub const FORWARDED_MAX: Knob<usize> = Knob::new("FORWARDED_MAX", 8_192);

/// Ballots that are open at the leader at once: 64 registrations in flight from each of 64 seeds.
pub const BALLOTS_MAX: Knob<usize> = Knob::new("BALLOTS_MAX", 4_096);

/// Death evidence kept in the registry, in deaths.
pub const DEATHS_KEPT: usize = 1_000;

/// Things that are wrong with a node at a time, of which it keeps account: enough for each seed of a list, and its own.
pub const TROUBLES_MAX: usize = 64;

/// Clusters that a cluster goes on for, by an operator's word: so many of their names are kept.
pub const PREDECESSORS_KEPT: usize = 16;

/// How far the log jumps where a cluster goes on as another one: what the lost seeds may have decided and numbered
/// stays far below.
pub const SUCCESSOR_INDEX_GAP: u64 = 1_000_000;

/// Ended lives kept in the registry, so that a life that is over cannot be registered again.
pub const ENDED_KEPT: usize = 10_000;

/// Bytes of changes that a seed keeps, their members' tags included: all of them must fit one frame.
pub const CHANGES_BYTES_MAX: usize = 1 << 20;

/// Changes that a seed keeps to bring a lagging session up to date without the whole view.
pub const CHANGES_KEPT: Knob<usize> = Knob::new("CHANGES_KEPT", 10_000);

/// Gossip identities that a peer remembers, in messages.
pub const RUMORS_MAX: Knob<usize> = Knob::new("RUMORS_MAX", 20_000);

/// Gossip payloads that a peer keeps to pass on to a late neighbour, in bytes.
pub const RUMOR_BYTES_MAX: Knob<usize> = Knob::new("RUMOR_BYTES_MAX", 16 << 20);

/// How long a gossip message is remembered.
pub const RUMOR_AGE_MAX: Knob<Duration> = Knob::new("RUMOR_AGE_MAX", Duration::from_secs(120));

/// Origins whose sequence numbers a peer keeps a window of.
pub const ORIGINS_MAX: Knob<usize> = Knob::new("ORIGINS_MAX", 20_000);

/// Identities in one exchange of recent gossip: 32 bytes each, well inside a frame.
pub const RECENT_MAX: Knob<usize> = Knob::new("RECENT_MAX", 10_000);

/// A registration, from the request at a seed to its answer.
pub const REGISTRATION_TIME_MAX: Knob<Duration> = Knob::new("REGISTRATION_TIME_MAX", Duration::from_secs(10));

/// A ballot, from its proposal; scaled by `--patience`. The longest probe takes 1.5 s, and its result has to come back:
/// with less, no ballot about silence could ever be decided.
pub const BALLOT_TIME_MAX: Knob<Duration> =
    Knob::new("BALLOT_TIME_MAX", Duration::from_secs(2)).at_least(Duration::from_millis(1_750));

/// A jury, from the suspicion; scaled by `--patience`.
pub const JURY_TIME_MAX: Knob<Duration> = Knob::new("JURY_TIME_MAX", Duration::from_secs(2));

/// How old the oldest probe behind a carried death may be when it is committed; scaled by `--patience`. One seed finds
/// a broken connection at once, while another waits for 1.5 s: with less, what they found could never be put together.
pub const EVIDENCE_AGE_MAX: Knob<Duration> =
    Knob::new("EVIDENCE_AGE_MAX", Duration::from_secs(2)).at_least(Duration::from_millis(1_750));

/// How long a carried death waits for others that are under way, to share one entry with them.
pub const DEATH_GATHER_TIME: Knob<Duration> = Knob::new("DEATH_GATHER_TIME", Duration::from_millis(30));

/// How long a probe's result serves the ballots that ask for it after it ended.
pub const PROBE_SERVES_FOR: Knob<Duration> = Knob::new("PROBE_SERVES_FOR", Duration::from_millis(500));

/// An orderly departure, from SIGTERM to the end of the process.
pub const LEAVE_TIME_MAX: Knob<Duration> = Knob::new("LEAVE_TIME_MAX", Duration::from_secs(2));

/// Silence that ends a native session, at either end; scaled by `--patience`.
pub const SESSION_SILENCE_MAX: Knob<Duration> = Knob::new("SESSION_SILENCE_MAX", Duration::from_secs(3));

/// How long no seed may hold a session of a member before the seeds ask whether it lives; scaled by
/// `--patience`.
pub const ABSENCE_TIME: Knob<Duration> = Knob::new("ABSENCE_TIME", Duration::from_secs(2));

/// The same after a seed's start or an election, while sessions are being opened again.
pub const ABSENCE_GRACE: Knob<Duration> = Knob::new("ABSENCE_GRACE", Duration::from_secs(10));

/// Silence of a JSON member's session, and the pause between the probes that follow it.
pub const JSON_PROBE_EVERY: Knob<Duration> = Knob::new("JSON_PROBE_EVERY", Duration::from_secs(10));

/// How often soft state (sessions held, neighbours) is told to the leader at most.
pub const SOFT_STATE_EVERY: Knob<Duration> = Knob::new("SOFT_STATE_EVERY", Duration::from_millis(200));

/// How often a seed tells the others what it has on disk at most, when that changes.
pub const DIRECTORY_TOLD_EVERY: Knob<Duration> =
    Knob::new("DIRECTORY_TOLD_EVERY", Duration::from_millis(100));

/// How often at least: it is the sign that it lives.
pub const DIRECTORY_TOLD_AT_LEAST: Knob<Duration> =
    Knob::new("DIRECTORY_TOLD_AT_LEAST", Duration::from_secs(1));

/// Silence after which a connected seed counts as away, for readiness and for changes of seeds: three signs missed.
pub const SEED_SILENCE_MAX: Knob<Duration> = Knob::new("SEED_SILENCE_MAX", Duration::from_secs(3));

/// Silence after which a connection with a seed is given up and dialled anew. The kernel repeats what it sent 0.2,
/// 0.6, 1.4, 3 and 6.2 s after the network went, and then only after 12.6 s: after a split that lasted a little over
/// six seconds nobody would speak for six more. Where each fifth packet is lost, so long a silence comes once in some
/// minutes.
pub const SEED_GIVEN_UP_AFTER: Knob<Duration> = Knob::new("SEED_GIVEN_UP_AFTER", Duration::from_secs(7));

/// How long a seed may lack what its leader has committed and still be ready.
pub const BEHIND_TIME_MAX: Knob<Duration> = Knob::new("BEHIND_TIME_MAX", Duration::from_secs(1));

/// How long an older run of a data directory is waited for, when another one comes: who answers within it is alive.
pub const OLDER_RUN_TIME_MAX: Duration = Duration::from_secs(1);

/// How long it counts that it answered: longer than the longest pause before another seed dials again.
pub const OLDER_RUN_ANSWER_HOLDS: Duration = Duration::from_secs(3);

/// Hints of suspicion that a seed takes from one reporter a second.
pub const HINTS_PER_SECOND: Knob<u32> = Knob::new("HINTS_PER_SECOND", 10);

/// Reports, departures and linearizable reads that a seed takes on one session a second: a peer that lost as many
/// neighbours as it may suspect at once can report them all.
pub const REQUESTS_PER_SECOND: Knob<u32> = Knob::new("REQUESTS_PER_SECOND", 256);

/// How long a HELLO from an address that is not in the view yet is kept.
pub const HELLO_WAITS: Knob<Duration> = Knob::new("HELLO_WAITS", Duration::from_secs(2));

/// Messages kept for one connection that waits so: a guess.
pub const HELD_MAX: Knob<usize> = Knob::new("HELD_MAX", 64);

/// Bytes kept for all of them together: a few messages of the longest kind.
pub const HELD_BYTES_MAX: Knob<usize> = Knob::new("HELD_BYTES_MAX", 8 << 20);

/// How long a peer waits for the last of its seeds before it counts as joined with those it has.
pub const JOIN_SETTLES: Knob<Duration> = Knob::new("JOIN_SETTLES", Duration::from_secs(5));

/// Jurors of one suspicion, the suspecting peer counted.
pub const JURY_MAX: Knob<usize> = Knob::new("JURY_MAX", 7);

/// How much later than its patience allows a probe may end and still be evidence of a death. A guess: many times the
/// worst scheduling delay, and a quarter of what evidence may age. A node that is later than that stood still itself.
pub const PROBE_LATE_MAX: Knob<Duration> = Knob::new("PROBE_LATE_MAX", Duration::from_millis(500));

/// Bytes of an append that one seed sends another: above it openraft's entries are split, because an append
/// with the evidence of many deaths would outgrow the frame and stop replication.
pub const APPEND_BYTES_MAX: usize = 256 << 10;

/// Bytes of a snapshot in one frame.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;
