//! An accept loop that outlives a lack of descriptors.

use std::time::Duration;

use tokio::sync::mpsc;

use super::platform::is_own_shortage;
use super::tcp::{TcpListener, TcpStream};

/// How long to wait when there is no descriptor left.
const NO_DESCRIPTOR_PAUSE: Duration = Duration::from_millis(50);

/// The next connection. Waits where there is no descriptor for it, and passes over those that are gone already.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if stream.set_nodelay(true).is_ok() {
                    return stream;
                }
            }
            Err(error) if is_own_shortage(&error) => tokio::time::sleep(NO_DESCRIPTOR_PAUSE).await,
            Err(_) => {}
        }
    }
}

/// Feeds the connections of `listener` to a node, each as an `arrival`, at the node's pace.
pub async fn feed<A>(listener: TcpListener, arrivals: mpsc::Sender<A>, arrival: fn(TcpStream) -> A) {
    while arrivals.send(arrival(accept(&listener).await)).await.is_ok() {}
}
