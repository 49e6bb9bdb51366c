//! The pieces of the overlay.
//!
//! Union-find (Tarjan, *Efficiency of a good but not linear set union algorithm*, 1975), over numbers in place of
//! addresses: one pass over the links. The smaller number is the root, so pieces of one size come in the order of their
//! first nodes. Left out: union by rank; to halve the paths is enough for as many members as there may be.

use std::collections::BTreeMap;

use coterie_common::Address;

/// The connected pieces of the graph whose nodes are the keys of `links`, the largest first, nodes in order.
/// A link that only one end tells of counts; one to a stranger does not.
pub fn components(links: &BTreeMap<Address, Vec<Address>>) -> Vec<Vec<Address>> {
    let nodes: Vec<Address> = links.keys().copied().collect();
    let number: BTreeMap<Address, usize> = nodes.iter().enumerate().map(|(i, a)| (*a, i)).collect();
    let mut parent: Vec<usize> = (0..nodes.len()).collect();
    for (from, to) in links.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to))) {
        // A member may tell of a link with one that has ended.
        if let (Some(&a), Some(&b)) = (number.get(from), number.get(to)) {
            let (a, b) = (root(&mut parent, a), root(&mut parent, b));
            parent[a.max(b)] = a.min(b);
        }
    }
    let mut pieces: BTreeMap<usize, Vec<Address>> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        pieces.entry(root(&mut parent, index)).or_default().push(*node);
    }
    let mut pieces: Vec<Vec<Address>> = pieces.into_values().collect();
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
    assert_eq!(pieces.iter().map(Vec::len).sum::<usize>(), nodes.len(), "nodes in pieces, and all nodes");
    pieces
}

/// The representative of the piece that `node` is in. Halves the path on the way (Tarjan, van Leeuwen 1984).
fn root(parent: &mut [usize], mut node: usize) -> usize {
    while parent[node] != node {
        parent[node] = parent[parent[node]];
        node = parent[node];
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_from_links_that_either_end_tells_of() {
        let address = |port| Address::new([127, 0, 0, 1].into(), port);
        let links = [(1, vec![2]), (2, vec![]), (3, vec![2]), (4, vec![5, 99]), (5, vec![]), (6, vec![])];
        let links: BTreeMap<Address, Vec<Address>> =
            links.into_iter().map(|(a, to)| (address(a), to.into_iter().map(address).collect())).collect();
        let ports: Vec<Vec<u16>> =
            components(&links).iter().map(|piece| piece.iter().map(|a| a.port()).collect()).collect();
        assert_eq!(ports, [vec![1, 2, 3], vec![4, 5], vec![6]]);
    }
}
