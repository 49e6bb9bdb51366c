//! The console: lines from stdin, until `exit` or the end of the input.

use std::io::BufRead;

use coterie_common::net::diagnostics;
use tokio::sync::mpsc;

/// Lines that wait for the core; more make the reader wait, and so whoever writes to it.
const LINES_MAX: usize = 64;

/// Reads lines on a thread of its own, because a terminal cannot be read without blocking one. The peer runs on
/// when the console has ended.
pub(super) fn start() -> mpsc::Receiver<String> {
    let (lines, receiver) = mpsc::channel(LINES_MAX);
    // A process that cannot have one more thread still is a peer, only one without a console.
    let _ = std::thread::Builder::new().name("console".to_owned()).spawn(move || {
        for line in std::io::stdin().lock().lines() {
            match line {
                Ok(line) if line.trim() == "exit" => return,
                Ok(line) => {
                    if lines.blocking_send(line).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    diagnostics::say("not UTF-8: the line is not said");
                }
                Err(_) => return,
            }
        }
    });
    receiver
}
