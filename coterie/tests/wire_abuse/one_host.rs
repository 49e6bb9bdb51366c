//! One host that takes as many connections as it can.

use std::io::{ErrorKind, Write};
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

/// Whether nothing has come on it, not even its end.
pub(crate) fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let looked = stream.peek(&mut [0]);
    looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Those that say something are closed for nobody, so without a limit for each host one of them would keep all others
/// out, by mistake or not.
#[test]
fn a_host_that_takes_all_connections_that_it_may_keeps_nobody_else_out() {
    let cluster = TestCluster::form(1, 1, &["--messages", "0"]);
    for node in [cluster.seeds()[0], cluster.peers()[0]] {
        leave_few_descriptors(&cluster, node);
        let to = cluster.socket(node);
        let ask_from_one = |_| {
            let mut stream = connect_from([127, 77, 0, 1], to);
            stream.write_all(&said(&ping())).unwrap();
            assert_eq!(read_message(&stream).unwrap()["type"], "PONG");
            stream
        };
        let open: Vec<TcpStream> = (0..40).map(ask_from_one).collect();
        // The others are closed again, with a word that says why.
        wait_until("most of them to be closed", || {
            open.iter().filter(|stream| is_open(stream)).count() <= 20
        });
        assert_eq!(ask(to, &ping())["type"], "PONG", "another host is answered");
        assert!(is_open(&open[0]), "the first stays");
    }
    let told = || run(&["status", "--seed", &cluster.socket(cluster.seeds()[0]).to_string()]);
    wait_until("the count", || {
        String::from_utf8(told().stdout).unwrap().contains("connections_with_a_host_over_limit")
    });
}
