//! Names to addresses, with a time-out: the look-up of a stopped container's name can take ten seconds.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::Address;

/// How long one look-up may take.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(3);

/// The address of `host`, an IP or a name, and `port`. IPv4 first: it is what such lists mean.
pub async fn resolve(host: &str, port: u16) -> Result<Address, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Address::new(ip, port));
    }
    let found = timeout(LOOK_UP_TIME_MAX, tokio::net::lookup_host((host, port))).await;
    let found =
        found.map_err(|_| format!("{host}: no answer from the name service within {LOOK_UP_TIME_MAX:?}"))?;
    let mut addresses: Vec<Address> = found.map_err(|e| format!("{host}: {e}"))?.map(Address::from).collect();
    addresses.sort();
    addresses.first().copied().ok_or_else(|| format!("{host}: no address"))
}
