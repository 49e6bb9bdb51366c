//! Every target over its corpus, over what has crashed it before, and over some thousand inputs that are drawn.
//!
//! The inputs are the same every time; `COTERIE_FUZZ_SEED` draws others, `COTERIE_FUZZ_INPUTS` more.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

use std::path::Path;

use coterie_fuzz::find;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};

/// Inputs drawn for each target.
const INPUTS: u64 = 4_000;

/// The longest input that is drawn.
const LONGEST: usize = 600;

fn files(kind: &str, target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Something of the corpus, changed in a few places; or anything at all.
fn draw(rng: &mut ChaCha8Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    if corpus.is_empty() || rng.random_bool(0.4) {
        let mut input = vec![0; rng.random_range(0..LONGEST)];
        rng.fill_bytes(&mut input);
        return input;
    }
    let mut input = corpus[rng.random_range(0..corpus.len())].clone();
    for _ in 0..rng.random_range(1..8) {
        let at = rng.random_range(0..=input.len());
        match rng.random_range(0..4) {
            0 => input.insert(at, rng.random()),
            1 => input.truncate(at),
            2 if at < input.len() => input[at] = rng.random(),
            3 if at < input.len() => drop(input.remove(at)),
            _ => input.extend_from_slice(&corpus[rng.random_range(0..corpus.len())]),
        }
    }
    input
}

fn play(name: &str) {
    let (_, target) = find(name).expect("a target");
    let corpus = files("corpus", name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    corpus.iter().chain(&files("crashes", name)).for_each(|input| target(input));
    let mut rng = ChaCha8Rng::seed_from_u64(number("COTERIE_FUZZ_SEED", 1));
    for _ in 0..number("COTERIE_FUZZ_INPUTS", INPUTS) {
        let input = draw(&mut rng, &corpus);
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            let path = std::env::temp_dir().join(format!("{name}.{}", std::process::id()));
            std::fs::write(&path, &input).unwrap();
            panic!("{name} fails on {}: keep it in fuzz/crashes/{name}", path.display());
        }
    }
}

#[test]
fn frames_come_out_as_they_went_in() {
    play("frames");
}

#[test]
fn what_is_understood_can_be_said_again() {
    play("codecs");
}

#[test]
fn a_seed_list_that_is_read_can_be_written_and_read_again() {
    play("seed_lists");
}

#[test]
fn a_peer_bears_whatever_it_is_told() {
    play("peer");
}

#[test]
fn a_registry_bears_any_log() {
    play("registry");
}

#[test]
fn a_ballot_bears_any_votes() {
    play("ballots");
}
