//! Long runs: one target, chosen by `COTERIE_FUZZ_TARGET`, under libFuzzer. `fuzz/run` builds and starts it.

#![no_main]

use std::sync::LazyLock;

use coterie_fuzz::{TARGETS, Target, find};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("COTERIE_FUZZ_TARGET").unwrap_or_default();
    let all = TARGETS.map(|(name, _)| name).join(", ");
    find(&name).unwrap_or_else(|| panic!("COTERIE_FUZZ_TARGET={name:?} is none of {all}"))
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.1(input));
