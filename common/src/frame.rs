//! A byte stream cut into frames: a length of four bytes, big-endian, then so many bytes of payload.
//!
//! Pure: bytes go in as they arrive, payloads come out when they are whole. Memory grows with what has
//! arrived, never with what a length promises.

use bytes::{Bytes, BytesMut};

use crate::limits::FRAME_BYTES_MAX;

/// The length in front of a payload, in bytes.
const HEADER: usize = 4;

/// Why a stream cannot be cut any further.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// TLS, where nothing but plain frames is spoken.
    #[error("a TLS handshake, but this cluster is open and speaks plain frames")]
    Tls,
    /// The answer of a web server, or of a proxy.
    #[error("an answer in HTTP, not a frame")]
    Http,
    /// The length is over the limit, or no length at all.
    #[error("a frame of {0} bytes, at most {FRAME_BYTES_MAX} are taken")]
    TooLong(u32),
}

/// What has arrived of a stream and is not yet taken.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
}

impl Frames {
    /// Where the next bytes of the stream go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether a frame has begun and not ended.
    pub fn is_inside_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The payload of the next whole frame; `None` until it has arrived.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        // The first byte alone gives away what is no frame, so nobody waits for the other three.
        match self.buffer.first() {
            None | Some(0) => {}
            Some(0x16) => return Err(FrameError::Tls),
            Some(b'H') => return Err(FrameError::Http),
            Some(&byte) => return Err(FrameError::TooLong(u32::from(byte) << 24)),
        }
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes(*header);
        if length as usize > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let whole = HEADER + length as usize;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let frame = self.buffer.split_to(whole).freeze();
        Ok(Some(frame.slice(HEADER..)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(payloads: &[Vec<u8>]) -> Vec<u8> {
        let frame = |p: &Vec<u8>| [&(p.len() as u32).to_be_bytes()[..], p].concat();
        payloads.iter().flat_map(frame).collect()
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_the_same_frames_come_out(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in 1_usize..9,
        ) {
            let mut frames = Frames::default();
            let mut out = Vec::new();
            for chunk in framed(&payloads).chunks(cut) {
                frames.buffer().extend_from_slice(chunk);
                while let Some(payload) = frames.next_frame().unwrap() {
                    out.push(payload.to_vec());
                }
            }
            prop_assert_eq!(out, payloads);
            prop_assert!(!frames.is_inside_frame());
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_not_an_error_yet() {
        let whole = framed(&[b"hello".to_vec()]);
        for cut in 0..whole.len() {
            let mut frames = Frames::default();
            frames.buffer().extend_from_slice(&whole[..cut]);
            assert_eq!(frames.next_frame(), Ok(None), "cut at {cut}");
            assert_eq!(frames.is_inside_frame(), cut > 0);
        }
    }

    #[test]
    fn what_is_no_frame_is_told_by_its_first_bytes() {
        let error = |bytes: &[u8]| {
            let mut frames = Frames::default();
            frames.buffer().extend_from_slice(bytes);
            frames.next_frame().unwrap_err()
        };
        assert_eq!(error(&[0x16, 3, 1]), FrameError::Tls);
        assert_eq!(error(b"HTTP/1.1 400 Bad Request"), FrameError::Http);
        assert_eq!(error(b"GET / HTTP/1.1"), FrameError::TooLong(u32::from(b'G') << 24));
        assert_eq!(error(&[0, 0x20, 0, 1]), FrameError::TooLong((2 << 20) + 1));
        let mut at_the_limit = Frames::default();
        at_the_limit.buffer().extend_from_slice(&[0, 0x20, 0, 0, 7]);
        assert_eq!(at_the_limit.next_frame(), Ok(None));
    }
}
