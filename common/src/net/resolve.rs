//! Names to addresses, with a time-out: the look-up of a stopped container's name can take ten seconds.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::Address;

/// How long one look-up may take.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(3);

/// Look-ups under way at once. One that nobody answers keeps its thread for as long as the system likes.
const LOOK_UPS_MAX: usize = 32;

static LOOK_UPS: Semaphore = Semaphore::const_new(LOOK_UPS_MAX);

/// The first address of `host`, an IP or a name, and `port`: where a node is to listen.
pub async fn resolve(host: &str, port: u16) -> Result<Address, String> {
    resolve_all(host, port).await.map(|addresses| addresses[0])
}

/// All addresses of `host`, an IP or a name, and `port`; at least one. IPv4 first: it is what such lists mean.
pub async fn resolve_all(host: &str, port: u16) -> Result<Vec<Address>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![Address::new(ip, port)]);
    }
    let silent = || format!("{host}: no answer from the name service within {LOOK_UP_TIME_MAX:?}");
    let found = timeout(LOOK_UP_TIME_MAX, look_up(host, port)).await.map_err(|_| silent())?;
    let mut addresses = found.map_err(|error| format!("{host}: {error}"))?;
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(format!("{host}: no address"));
    }
    Ok(addresses)
}

/// In a thread of its own, for which nobody waits: not at the end of the process either.
async fn look_up(host: &str, port: u16) -> io::Result<Vec<Address>> {
    let permit = LOOK_UPS.acquire().await.map_err(io::Error::other)?;
    let (reply, found) = oneshot::channel();
    let host = host.to_owned();
    std::thread::Builder::new().name("look-up".to_owned()).spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs();
        let addresses = addresses.map(|addresses| addresses.map(Address::from).collect());
        drop(permit);
        // Who asked may have given up.
        let _ = reply.send(addresses);
    })?;
    found.await.map_err(io::Error::other)?
}
