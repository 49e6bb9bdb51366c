//! Whom to be linked with, and with how many: the sums.
//!
//! The number of neighbours a peer wants follows a power law, and whom it dials follows preferential attachment:
//! together they make a scale-free overlay (Barabasi, Albert 1999), of small diameter and hard to break by
//! random failures. Both sums stand alone here; the overlay only asks them.
//!
//! Weighed and left out: an active view that is shuffled all the time (HyParView). It keeps the overlay random while
//! members come and go; here seeds know every member, tell who is gone, and see when the overlay comes apart.

use coterie_common::Address;
use rand::{Rng, RngExt};

use crate::core::config::OverlayKind;

/// Shape of the Pareto distribution of wanted degrees. P(degree >= k) = k^-2.5, so degrees follow a power law of
/// exponent 3.5; preferential attachment flattens that of the resulting degrees to between 2 and 3, where real
/// networks lie. About one peer in sixteen wants three links or more.
pub(super) const PARETO_SHAPE: f64 = 2.5;

/// Fewest links anybody wants: with one, every second death would cut somebody off.
pub(super) const WANTED_MIN: usize = 2;

/// How many neighbours a peer wants that may have `most`. Drawn once in a life.
pub(super) fn wanted(kind: OverlayKind, most: usize, rng: &mut impl Rng) -> usize {
    let drawn = match kind {
        OverlayKind::Pareto => pareto(PARETO_SHAPE, rng).max(WANTED_MIN as f64) as usize,
        OverlayKind::Zipf => zipf_rank(most, rng).max(WANTED_MIN),
        OverlayKind::Random => rng.random_range(1..=most.max(1)),
    };
    drawn.min(most.max(1))
}

/// A sample of the Pareto distribution of scale 1, by inversion. The uniform number is above 0, so the power is
/// finite.
fn pareto(shape: f64, rng: &mut impl Rng) -> f64 {
    let uniform: f64 = 1.0 - rng.random::<f64>();
    uniform.powf(-1.0 / shape)
}

/// A rank from 1 to `most`, rank k with weight 1/k.
fn zipf_rank(most: usize, rng: &mut impl Rng) -> usize {
    let harmonic: f64 = (1..=most).map(|k| 1.0 / k as f64).sum();
    // The last rank takes what rounding leaves over.
    let mut left = rng.random::<f64>() * harmonic;
    let mut rank = 1;
    while rank < most && left >= 1.0 / rank as f64 {
        left -= 1.0 / rank as f64;
        rank += 1;
    }
    rank
}

/// One of `candidates`, each with its degree in the overlay. None if there is nobody to choose from. Degrees may be
/// old: they move the odds, and exclude nobody.
pub(super) fn choose(
    kind: OverlayKind,
    candidates: &[(Address, u32)],
    rng: &mut impl Rng,
) -> Option<Address> {
    if candidates.is_empty() {
        return None;
    }
    let index = match kind {
        OverlayKind::Random => rng.random_range(0..candidates.len()),
        OverlayKind::Pareto => by_weight(candidates, rng),
        OverlayKind::Zipf => {
            let mut ranked: Vec<usize> = (0..candidates.len()).collect();
            // The address decides between equals, so that one seed fixes the choice.
            ranked.sort_by_key(|&i| (std::cmp::Reverse(candidates[i].1), candidates[i].0));
            ranked[zipf_rank(ranked.len(), rng) - 1]
        }
    };
    Some(candidates[index].0)
}

/// Preferential attachment: weight degree + 1, so that a newcomer without links can be chosen too.
fn by_weight(candidates: &[(Address, u32)], rng: &mut impl Rng) -> usize {
    let total: u64 = candidates.iter().map(|(_, degree)| u64::from(*degree) + 1).sum();
    let mut left = rng.random_range(0..total);
    for (index, (_, degree)) in candidates.iter().enumerate() {
        let weight = u64::from(*degree) + 1;
        if left < weight {
            return index;
        }
        left -= weight;
    }
    unreachable!("the weights add up to their total")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    const PEERS: usize = 5_000;
    const CAP: usize = 1_000;

    /// The exponent that makes `samples` likeliest, by golden-section search over the log-likelihood.
    fn likeliest(samples: &[usize], log_p: impl Fn(f64, usize) -> f64) -> f64 {
        let likelihood = |a: f64| samples.iter().map(|&k| log_p(a, k)).sum::<f64>();
        let (mut low, mut high) = (1.2_f64, 6.0_f64);
        for _ in 0..60 {
            let third = (high - low) / 3.0;
            match likelihood(low + third) < likelihood(high - third) {
                true => low += third,
                false => high -= third,
            }
        }
        (low + high) / 2.0
    }

    /// The Hurwitz zeta function, by Euler and Maclaurin's summation after 20 terms.
    fn hurwitz(a: f64, from: usize) -> f64 {
        let n = (from + 20) as f64;
        let head: f64 = (from..from + 20).map(|k| (k as f64).powf(-a)).sum();
        head + n.powf(1.0 - a) / (a - 1.0) + 0.5 * n.powf(-a) + a * n.powf(-a - 1.0) / 12.0
    }

    fn simulated_degrees(rng: &mut ChaCha8Rng) -> (Vec<usize>, Vec<usize>) {
        let mut wants = Vec::new();
        let mut degrees: Vec<(Address, u32)> = Vec::new();
        for joiner in 0..PEERS {
            let want = wanted(OverlayKind::Pareto, CAP, rng);
            wants.push(want);
            let mut candidates = degrees.clone();
            let mut own = 0;
            while own < want && !candidates.is_empty() {
                let chosen = choose(OverlayKind::Pareto, &candidates, rng).unwrap();
                candidates.retain(|(a, _)| *a != chosen);
                degrees[usize::from(chosen.port()) - 1].1 += 1;
                own += 1;
            }
            degrees.push((Address::new([127, 0, 0, 1].into(), joiner as u16 + 1), own as u32));
        }
        (wants, degrees.into_iter().map(|(_, d)| d as usize).collect())
    }

    #[test]
    fn five_thousand_joins_make_a_power_law() {
        let (wants, degrees) = simulated_degrees(&mut ChaCha8Rng::seed_from_u64(1));
        let tail: Vec<usize> = wants.into_iter().filter(|&k| k >= 3).collect();
        let log_p = |a: f64, k: usize| {
            let below = |k: f64| k.powf(1.0 - a);
            ((below(k as f64) - below(k as f64 + 1.0)) / below(3.0)).ln()
        };
        let exponent = likeliest(&tail, log_p);
        assert!((exponent - 3.5).abs() <= 0.4, "wanted degrees: exponent {exponent}");

        let tail: Vec<usize> = degrees.into_iter().filter(|&k| k >= 5).collect();
        let exponent = likeliest(&tail, |a, k| -a * (k as f64).ln() - hurwitz(a, 5).ln());
        assert!((2.4..=3.2).contains(&exponent), "resulting degrees: exponent {exponent}");
    }

    #[test]
    fn every_kind_keeps_to_its_range() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..2_000 {
            assert!((2..=16).contains(&wanted(OverlayKind::Pareto, 16, &mut rng)));
            assert!((2..=16).contains(&wanted(OverlayKind::Zipf, 16, &mut rng)));
            assert!((1..=4).contains(&wanted(OverlayKind::Random, 4, &mut rng)));
            assert_eq!(wanted(OverlayKind::Pareto, 1, &mut rng), 1);
        }
    }

    #[test]
    fn a_hub_is_chosen_more_often_than_a_leaf_unless_chance_is_flat() {
        let address = |port| Address::new([127, 0, 0, 1].into(), port);
        let candidates = [(address(1), 9), (address(2), 0)];
        let hub_share = |kind| {
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            let hub = (0..4_000).filter(|_| choose(kind, &candidates, &mut rng) == Some(address(1))).count();
            hub as f64 / 4_000.0
        };
        assert!((hub_share(OverlayKind::Pareto) - 10.0 / 11.0).abs() < 0.03);
        assert!((hub_share(OverlayKind::Zipf) - 2.0 / 3.0).abs() < 0.03);
        assert!((hub_share(OverlayKind::Random) - 0.5).abs() < 0.03);
        assert_eq!(choose(OverlayKind::Pareto, &[], &mut ChaCha8Rng::seed_from_u64(4)), None);
    }
}
