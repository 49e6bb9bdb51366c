//! Lines that a person types: words to be said, or questions that the peer answers by itself.
//!
//! A line is words unless it begins with a slash: who types a message should not have to quote it. Reading decides
//! what a line asks for; the routes do it.

use bytes::Bytes;

use crate::core::Peer;

const HELP: &str =
    "a line is broadcast to every peer; /members, /neighbours, /counters, /help; exit ends the console";

/// What a typed line asks for.
#[derive(Debug)]
pub(crate) enum Typed {
    /// Lines to be printed, which may be none.
    Show(Vec<String>),
    /// Words for everybody.
    Say(Bytes),
}

/// Reads a line; looks at the peer and changes nothing. Only the end of the line is cut off: blanks before and after
/// the words are part of them.
pub(crate) fn read(peer: &Peer, line: &str) -> Typed {
    match line.trim_end_matches(['\r', '\n']) {
        "" => Typed::Show(Vec::new()),
        "/help" => Typed::Show(vec![HELP.to_owned()]),
        "/members" => Typed::Show(members(peer)),
        "/neighbours" => Typed::Show(neighbours(peer)),
        "/counters" => {
            Typed::Show(peer.counters().iter().map(|(name, count)| format!("{name} {count}")).collect())
        }
        // Not said to everybody: a mistyped command is no message.
        unknown if unknown.starts_with('/') => {
            Typed::Show(vec![format!("{unknown:?} is no command; {HELP}")])
        }
        text => Typed::Say(Bytes::copy_from_slice(text.as_bytes())),
    }
}

/// The view that this peer has, which may be behind the log.
fn members(peer: &Peer) -> Vec<String> {
    let view = peer.view();
    let mut lines = vec![format!("epoch {}, {} members", view.epoch, view.len())];
    for member in view.members() {
        let tags: Vec<String> = member.tags.iter().map(|(k, v)| format!(" {k}={v}")).collect();
        let id = member.id;
        lines.push(format!("{} incarnation {}{}", id.address, id.incarnation, tags.concat()));
    }
    lines
}

/// Links that are up, whoever dialled them; more than are wanted is no mistake.
fn neighbours(peer: &Peer) -> Vec<String> {
    let mut lines = vec![format!("{} links, {} wanted", peer.neighbours().len(), peer.links_wanted())];
    lines.extend(peer.neighbours().map(|id| id.address.to_string()));
    lines
}
