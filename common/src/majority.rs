//! How many are enough: floor(n/2)+1.
//!
//! Any two groups of that size share a node, so two of them never decide against each other. The sum stands
//! alone because everything else leans on it.

/// The least number of `n` that is more than half of them; 1 for none.
pub const fn majority(n: usize) -> usize {
    n / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::majority;

    /// For every n to 9: any two groups of `majority(n)` overlap, and any smaller size has two that do not.
    #[test]
    fn any_two_majorities_overlap_and_no_smaller_size_does() {
        for n in 1..=9_usize {
            assert!(majority(n) <= n, "the whole of {n} is a majority");
            for size in 1..=n {
                let groups: Vec<u32> = (0..1_u32 << n).filter(|g| g.count_ones() as usize == size).collect();
                let all_overlap = groups.iter().all(|a| groups.iter().all(|b| a & b != 0));
                assert_eq!(all_overlap, size >= majority(n), "groups of {size} out of {n}");
            }
        }
    }
}
