//! The network itself: what is cut is cut, and only that.

use super::lab::Lab;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Whether a packet from one host to another comes back: a port on which nobody listens refuses at once.
fn reaches(lab: &Lab, from: &str, to: &str) -> bool {
    let try_it = format!("exec 3<>/dev/tcp/{to}/9");
    let status = lab.command(from, "timeout").args(["0.5", "bash", "-c", &try_it]).output().unwrap().status;
    // 124 is what `timeout` says when its time was over.
    status.code() != Some(124)
}

#[test]
fn a_cut_between_two_hosts_is_silent_and_leaves_the_others_and_the_test_alone() {
    let mut lab = Lab::new();
    ["a", "b", "c"].iter().for_each(|host| lab.add_host(host));
    assert!(reaches(&lab, "a", "b") && reaches(&lab, "b", "a"));
    lab.cut("a", "b");
    assert!(!reaches(&lab, "a", "b") && !reaches(&lab, "b", "a"));
    assert!(reaches(&lab, "a", "c") && reaches(&lab, "c", "b"));
    let address: SocketAddr = format!("{}:9", lab.address("a")).parse().unwrap();
    let refused = TcpStream::connect_timeout(&address, Duration::from_millis(500)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    lab.heal("a", "b");
    assert!(reaches(&lab, "a", "b") && reaches(&lab, "b", "a"));
}
