//! A byte stream cut into frames: however it arrives, the same frames come out, and they are what was sent.

use coterie_common::frame::Frames;
use coterie_common::limits::FRAME_BYTES_MAX;

/// The payloads of a stream that arrives in pieces of `size`, and whether it ended in an error.
fn cut(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut frames, mut payloads) = (Frames::default(), Vec::new());
    for piece in stream.chunks(size) {
        frames.buffer().extend_from_slice(piece);
        loop {
            match frames.next_frame() {
                Ok(Some(payload)) => payloads.push(payload.to_vec()),
                Ok(None) => break,
                Err(_) => return (payloads, true),
            }
        }
    }
    (payloads, false)
}

pub(crate) fn target(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else { return };
    let (payloads, failed) = cut(stream, usize::from(*size).max(1));
    assert_eq!(
        (&payloads, failed),
        (&cut(stream, stream.len().max(1)).0, cut(stream, stream.len().max(1)).1)
    );
    let mut sent = Vec::new();
    for payload in &payloads {
        assert!(payload.len() <= FRAME_BYTES_MAX);
        sent.extend((payload.len() as u32).to_be_bytes());
        sent.extend(payload);
    }
    assert!(stream.starts_with(&sent), "what came out is not what went in");
}
