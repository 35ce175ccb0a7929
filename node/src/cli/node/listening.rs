//! Why a node does not listen where its file says, in the file's own words.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use crate::cli::{CliError, ExitStatus, blame};
use crate::config::address::{Address, Host};
use crate::daemon::StartError;
use crate::net::NetError;

/// The key in the file.
const KEY: &str = "node.listen";

/// What `node run` says when the engine does not start.
pub(super) fn not_started(error: StartError, listen: &[Address]) -> CliError {
    match &error {
        StartError::Net(NetError::Listen { address, reason }) => {
            let written = listen.iter().find(|written| written.multiaddrs().contains(address));
            written.map_or_else(|| CliError::failure(KEY, &error), |written| not_bound(written, reason))
        }
        _ => blame::start(error, "node"),
    }
}

/// The network tells its reason in words alone; whoever tries again is told the kind.
fn not_bound(address: &Address, reason: &str) -> CliError {
    let Host::Ip(ip) = &address.host else {
        return CliError::usage(KEY, reason);
    };
    let tried = TcpListener::bind(SocketAddr::new(*ip, address.port));
    let (status, way_out) = match tried.map_err(|error| error.kind()) {
        Err(ErrorKind::AddrInUse) => (
            ExitStatus::Conflict,
            "stop what listens there, for one another node, or write another port",
        ),
        Err(ErrorKind::AddrNotAvailable) => (
            ExitStatus::Usage,
            "write an address that this machine has, or 0.0.0.0 or [::] for all of them",
        ),
        Err(ErrorKind::PermissionDenied) => (ExitStatus::Denied, "write a port from 1024 on, as the default 7170"),
        _ => (ExitStatus::Failure, "start it again, or write another address"),
    };
    CliError::new(status, KEY, format!("cannot listen on `{address}`: {reason}")).way_out(way_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_a_conflict_that_names_the_key_and_the_address_as_written() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let text = format!("tcp://{}", held.local_addr().expect("bound"));
        let other = Address::parse_listen("127.0.0.1:0").expect("an address");
        let written = Address::parse_listen(&text).expect("an address");
        let [address] = written.multiaddrs().try_into().expect("one transport");
        let reason = "Address already in use (os error 98)".to_owned();
        let error = StartError::Net(NetError::Listen { address, reason });
        let error = not_started(error, &[other, written]);
        assert_eq!((error.status(), error.culprit()), (ExitStatus::Conflict, "node.listen"));
        assert!(error.what().contains(&format!("`{text}`")), "{error}");
        assert!(
            error.hint().is_some_and(|hint| hint.contains("another port")),
            "{error}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_a_wrong_configuration() {
        // Documentation addresses belong to nobody.
        let written = Address::parse_listen("192.0.2.1:7170").expect("an address");
        let error = not_bound(&written, "Cannot assign requested address");
        assert_eq!(error.status(), ExitStatus::Usage, "{error}");
    }
}
