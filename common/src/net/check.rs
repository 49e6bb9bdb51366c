//! `--check`: does a node of that role answer, and does it take part?

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::process::Failure;
use super::{connection, probe};
use crate::codec;
use crate::seed_list::{parse_port, split_host_port};
use crate::{Address, Message, Role, Wire};

/// How long a health check may take.
const CHECK_TIME_MAX: Duration = Duration::from_millis(900);

/// Fails unless a node of `role` at `text`, an `IP:PORT`, answers PING and says that it is ready.
pub async fn check(role: Role, text: &str) -> Result<(), Failure> {
    let (host, port) = split_host_port(text).map_err(Failure::usage)?;
    let port = parse_port(port).map_err(Failure::usage)?;
    match timeout(CHECK_TIME_MAX, ask(host, port)).await {
        Ok(Ok((met, _))) if met != role => {
            let (met, role) = (met.lower(), role.lower());
            Err(Failure::running(format!("{text}: answers as a {met}, not as a {role}")))
        }
        Ok(Ok((_, true))) => Ok(()),
        Ok(Ok((_, false))) => Err(Failure::running(format!("{text}: answers, but does not take part yet"))),
        Ok(Err(problem)) => Err(Failure::running(format!("{text}: {problem}"))),
        Err(_) => Err(Failure::running(format!("{text}: no answer"))),
    }
}

/// As what the node answers, and whether it is ready. Only peers have lives.
async fn ask(host: &str, port: u16) -> Result<(Role, bool), String> {
    let mut stream = connection::dial_host(host, port, CHECK_TIME_MAX).await?;
    let address = Address::from(stream.local_addr().map_err(|e| e.to_string())?);
    let ping = codec::encode(&Message::Ping { nonce: 1 }, Wire::Native, address);
    stream.write_all(&ping).await.map_err(|e| e.to_string())?;
    let pong = probe::read_message(&mut stream, |message| match message {
        Message::Pong { life, ready, .. } => {
            Some((if life.is_some() { Role::Peer } else { Role::Seed }, ready))
        }
        _ => None,
    });
    pong.await.map_err(|e| e.to_string())?.ok_or_else(|| "closed the connection".to_owned())
}
