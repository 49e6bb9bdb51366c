//! Every way in which a host dies or is cut off, told twice: of containers, and of network namespaces.
//!
//! `cargo test -p coterie-lab --features hosts --test hosts`; containers want `COTERIE_IMAGE`, the name of an image
//! that was built from the Dockerfile, and a Docker engine; namespaces want root. What is not there is said in one
//! line.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

mod changes;
#[path = "../../../coterie/tests/common/mod.rs"]
mod common;
mod compose;
mod hosts;
mod large_packets;
mod names;
mod stories;

use std::io::Write;

use coterie_lab::{Lab, Material, engine_answers, may_make_namespaces};
use hosts::Hosts;

/// Says that a kind of hosts is not to be had here; past the test harness, which keeps quiet about what passes.
fn say_missing(what: &str) {
    let _ = writeln!(std::io::stderr(), "not run: {what}");
}

fn containers() -> Option<Material> {
    match std::env::var("COTERIE_IMAGE") {
        Ok(image) => {
            assert!(engine_answers(), "COTERIE_IMAGE is {image}, but no Docker engine answers");
            assert!(Lab::may_break_networks(), "breaking networks takes root, nsenter and iptables");
            Some(Material::Containers { image })
        }
        Err(_) => {
            say_missing("containers: COTERIE_IMAGE does not name an image");
            None
        }
    }
}

fn namespaces() -> Option<Material> {
    if may_make_namespaces() {
        return Some(Material::Namespaces { program: common::program() });
    }
    say_missing("network namespaces: this is not root");
    None
}

#[test]
fn the_compose_file_starts_nine_healthy_nodes_and_more_on_request() {
    // This takes neither root nor a broken network.
    if let Ok(image) = std::env::var("COTERIE_IMAGE") {
        compose::the_compose_file_starts_nine_healthy_nodes_and_more_on_request(&image);
    }
}

#[test]
fn a_path_on_which_large_packets_are_lost_is_good_enough() {
    // A container that is started again would have a network without the rules.
    if let Some(material) = namespaces() {
        large_packets::a_path_on_which_large_packets_are_lost_is_good_enough(material);
    }
}

#[test]
fn a_name_server_that_is_silent_holds_up_no_end() {
    if namespaces().is_some() {
        names::a_name_server_that_is_silent_holds_up_no_end();
    }
}

#[test]
fn of_a_name_with_several_addresses_all_are_tried() {
    if namespaces().is_some() {
        names::of_a_name_with_several_addresses_all_are_tried();
    }
}

#[test]
fn a_seed_that_returns_under_another_address_is_found_again() {
    if let Some(material) = containers() {
        stories::a_seed_that_returns_under_another_address_is_found_again(material);
    }
}

#[test]
fn seeds_are_changed_by_a_program_on_a_seeds_own_host() {
    if let Some(material) = namespaces() {
        changes::seeds_are_changed_by_a_program_on_a_seeds_own_host(material);
    }
}

/// Each story as a test of containers and as a test of namespaces.
macro_rules! tell {
    ($($story:ident)*) => {
        mod in_containers {
            $(#[test]
            fn $story() {
                if let Some(material) = super::containers() {
                    super::stories::$story(material);
                }
            })*
        }
        mod in_namespaces {
            $(#[test]
            fn $story() {
                if let Some(material) = super::namespaces() {
                    super::stories::$story(material);
                }
            })*
        }
    };
}

tell! {
    a_killed_node_is_confirmed_dead_and_returns_when_it_is_started_again
    a_node_that_is_stopped_leaves_in_order
    a_paused_peer_is_removed_and_is_back_within_three_seconds
    a_disconnected_peer_is_removed_and_is_back_within_three_seconds
    seeds_may_be_killed_one_by_one_and_nothing_is_lost
    all_seeds_may_be_restarted_at_once
    a_seed_without_its_disk_ends_with_advice
    of_two_neighbours_that_hear_each_other_one_way_neither_dies
    two_peers_that_are_cut_from_each_other_both_live
    a_peer_that_only_seeds_can_reach_is_no_dead_peer
    a_peer_that_no_seed_can_reach_is_removed_and_comes_back
    a_leader_that_is_cut_from_everybody_is_succeeded
    a_split_of_the_seeds_commits_on_one_side_and_heals_within_five_seconds
    nobody_dies_of_lost_packets_and_the_dead_are_still_found
    a_lab_leaves_nothing_behind
    a_lab_whose_owner_is_killed_leaves_nothing_behind
}
