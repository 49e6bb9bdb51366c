//! One host that takes as many connections as it can.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::common::{DEADLINE, TestCluster, run, wait_until};
use super::descriptors::leave_few_descriptors;
use super::sockets::{ask, ping, read_message, said};

/// A connection from another host: another address of loopback is one.
pub(crate) fn connect_from(host: [u8; 4], to: SocketAddr) -> TcpStream {
    let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    stream.bind(&SocketAddr::from((host, 0)).into()).unwrap();
    stream.connect(&to.into()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.into()
}

/// Those that say something are closed for nobody, so without a limit for each host one of them would keep all others
/// out, by mistake or not.
#[test]
fn a_host_that_takes_all_connections_that_it_may_keeps_nobody_else_out() {
    let cluster = TestCluster::form(1, 1, &["--messages", "0"]);
    for node in [cluster.seeds()[0], cluster.peers()[0]] {
        leave_few_descriptors(&cluster, node);
        let to = cluster.socket(node);
        let mut answered = Vec::new();
        for _ in 0..40 {
            let mut stream = connect_from([127, 77, 0, 1], to);
            if stream.write_all(&said(&ping())).is_ok() && read_message(&stream).is_ok() {
                answered.push(stream);
            }
        }
        assert!((5..20).contains(&answered.len()), "{} of 40 were answered", answered.len());
        assert_eq!(ask(to, &ping())["type"], "PONG", "another host is");
        drop(answered);
    }
    let told = || run(&["status", "--seed", &cluster.socket(cluster.seeds()[0]).to_string()]);
    wait_until("the count", || {
        String::from_utf8(told().stdout).unwrap().contains("connections_with_a_host_over_limit")
    });
}
