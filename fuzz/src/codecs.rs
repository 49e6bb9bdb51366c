//! Payloads: what is understood can be said again, and means the same.

use coterie_common::codec::{decode, encode, from_bytes, to_bytes};
use coterie_common::frame::Frames;
use coterie_common::message::MeshMessage;
use coterie_common::{Address, Message, Wire};
use coterie_seed::core::Entry;

pub(crate) fn target(input: &[u8]) {
    let me = Address::new([127, 0, 0, 1].into(), 6_001);
    if let Ok(decoded) = decode(input)
        && let (Wire::Native, Some(message)) = (decoded.wire, decoded.message)
    {
        let mut frames = Frames::default();
        frames.buffer().extend_from_slice(&encode(&message, Wire::Native, me));
        let Ok(Some(payload)) = frames.next_frame() else { panic!("{message:?} does not fit a frame") };
        let again = decode(&payload).ok().and_then(|decoded| decoded.message);
        assert_eq!(again.as_ref(), Some(&message));
        // JSON has not a word for everything, but what it says it can say.
        drop(encode(&message, Wire::Json, me));
    }
    if let Ok(entry) = from_bytes::<Entry>(input) {
        assert_eq!(from_bytes::<Entry>(&to_bytes(&entry)).ok(), Some(entry));
    }
    if let Ok(message) = from_bytes::<MeshMessage>(input) {
        let message = Message::Mesh(message);
        assert_eq!(from_bytes::<Message>(&to_bytes(&message)).ok(), Some(message));
    }
}
