//! Words and rules that seeds and peers share. Decides nothing.
//!
//! The cores of both programs depend on what is here without the feature `net`; everything that touches the
//! operating system is behind it.

pub mod address;
pub mod backoff;
pub mod budget;
pub mod chance;
pub mod clock;
pub mod codec;
pub mod finding;
pub mod frame;
pub mod json;
pub mod knob;
pub mod limits;
pub mod line;
pub mod local_health;
pub mod majority;
pub mod member;
pub mod message;
#[cfg(feature = "net")]
pub mod net;
pub mod patience;
pub mod probe;
pub mod refusal;
pub mod secret;
pub mod seed_list;
pub mod troubles;
pub mod view;

pub use address::Address;
pub use backoff::Backoff;
pub use budget::{Allowance, Budget};
pub use chance::Chance;
pub use clock::{Instant, Timestamp};
pub use finding::{Finding, HostEvidence};
pub use line::{Line, Role, Value};
pub use local_health::LocalHealth;
pub use majority::majority;
pub use member::{Epoch, Incarnation, Life, Member, MemberId, Tags, Wire, tag_bytes};
pub use message::Message;
pub use patience::Patience;
pub use probe::{Effort, PROBE_CONNECTIONS, ProbeOrder, ProbeTarget, UnderWay};
pub use refusal::{Refusal, Why};
pub use secret::Secret;
pub use troubles::Troubles;
pub use view::{Change, Ended, Ending, Event, Tally, View};
