//! `--force-new-cluster`: the operator has lost a majority of the seeds for good, and this one goes on without them.
//!
//! As etcd's option of that name, but bound to the cluster that it names: left in a unit file, it does nothing more, as
//! long as there is a history.

use std::time::Duration;

use coterie_common::clock::entropy;
use coterie_common::message::ClusterId;
use coterie_common::net::check;
use coterie_common::net::process::Failure;
use coterie_common::{Line, Role};
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::node::Options;
use crate::raft::Store;

/// For how long the other seeds are asked whether they can have anything decided: longer than an election takes, and
/// the start of processes that were all started together.
const ASKED_FOR: Duration = Duration::from_secs(6);

/// How often.
const ASKED_EVERY: Duration = Duration::from_millis(500);

/// Where that is asked, has the cluster in `store` go on as another one with this seed alone, if it is the one of that
/// name, and none of its seeds can have anything decided.
///
/// Returns the name if that was done now, and not before.
pub(super) async fn force(store: &Store, options: &Options) -> Result<Option<String>, Failure> {
    let Some(name) = &options.force_new_cluster else { return Ok(None) };
    let data = options.data.display();
    let Some(history) = store.history() else {
        let text = format!("--force-new-cluster {name}: data directory {data} has no history to go on with");
        return Err(Failure::running(text));
    };
    let is_named = |cluster: &ClusterId| cluster.to_string() == *name;
    if history.predecessors.iter().any(is_named) {
        tracing::warn!("--force-new-cluster {name}: it goes on as cluster {} already", history.cluster);
        return Ok(None);
    }
    if !is_named(&history.cluster) {
        let text =
            format!("--force-new-cluster {name}: data directory {data} is of cluster {}", history.cluster);
        return Err(Failure::running(text));
    }
    let own = options.own.to_string();
    let others = history.seats.values().map(|seat| seat.address.as_str()).filter(|address| *address != own);
    let others: Vec<&str> = others.collect();
    if !others.is_empty() {
        let (asked, time) = (others.join(", "), ASKED_FOR.as_secs());
        tracing::warn!("--force-new-cluster {name}: for {time} s it asks whether they can decide: {asked}");
    }
    if let Some(seed) = who_decides(&others).await {
        let text =
            format!("--force-new-cluster {name}: seed {seed} can have things decided, so nothing is lost");
        return Err(Failure::running(text));
    }
    let chance = entropy();
    let [directory_id, ..] = chance.as_chunks::<8>().0 else { unreachable!("32 bytes are four numbers") };
    // Never 0, which stands for no directory.
    let directory_id = u64::from_le_bytes(*directory_id) | 1;
    let forced = store.go_on_alone(&own, directory_id);
    let cluster = forced.map_err(|error| Failure::running(format!("data directory {data}: {error}")))?;
    tracing::warn!(
        "cluster {name} goes on as cluster {cluster}, with its members and this seed alone. What the other seeds had \
         decided without it is lost. They are of no cluster any more: empty their directories and run coterie seed-add"
    );
    Ok(Some(name.clone()))
}

/// One of these seeds that can have anything decided, if one says so in time.
async fn who_decides<'a>(seeds: &[&'a str]) -> Option<&'a str> {
    let one_says_so = async {
        loop {
            let asked = join_all(seeds.iter().map(|seed| check::check(Role::Seed, seed))).await;
            if let Some(place) = asked.iter().position(Result::is_ok) {
                return seeds[place];
            }
            sleep(ASKED_EVERY).await;
        }
    };
    timeout(ASKED_FOR, one_says_so).await.ok()
}

/// The line of the log that tells of it.
pub(super) fn line(store: &Store, options: &Options) -> Option<Line> {
    options.force_new_cluster.as_ref()?;
    let history = store.history()?;
    let former = history.predecessors.last()?;
    Some(Line::new("CLUSTER_CHANGED").show("from", former).show("to", history.cluster))
}
