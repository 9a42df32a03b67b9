//! Why a gateway does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use gateway::serve::TlsError;

use super::Exit;

/// Why a gateway does not start, or cannot be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    /// One of this client runs.
    #[error("a gateway of this client runs already, at {url}")]
    Running { url: String },
    /// One of this client has begun to run, and does not listen yet.
    #[error("a gateway of this client is being started already")]
    Starting,
    /// None of this client runs.
    #[error("no gateway of this client runs")]
    None,
    /// The address is not to be had.
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    /// Whoever is on the way could read what passes.
    #[error(
        "{address} is to be reached from other machines: that wants --tls-cert and --tls-key, or --insecure to go without TLS"
    )]
    Open { address: SocketAddr },
    /// A folder for the `tahoe` command that could not use it.
    #[error(
        "--tahoe-dir is of no use with {address}: the `tahoe` command sends no token, and is let in on this machine only"
    )]
    NoTahoe { address: SocketAddr },
    /// The folder is something else already.
    #[error("{} {is}: nothing is written into it", dir.display())]
    Foreign { dir: PathBuf, is: &'static str },
}

const AT_WORK: &str = "`sarsen gateway url` prints its address; for a gateway beside it, make another client with `--dir` and `sarsen init`, or stop the one that runs";
const OTHER_PORT: &str =
    "another program listens there: choose another port, as in `--listen 127.0.0.1:3457`";
const LOW_PORT: &str =
    "ports below 1024 are for root and services: choose another, as in `--listen 127.0.0.1:3456`";
const NO_ADDRESS: &str = "this machine has no such address: `ip address` shows those that it has";

/// How such an error is told, if it is one.
pub(super) fn classify(error: &anyhow::Error) -> Option<(Exit, Option<&'static str>)> {
    if let Some(error) = error.downcast_ref() {
        return Some((Exit::Error, tls_hint(error)));
    }
    Some(match error.downcast_ref::<GatewayError>()? {
        GatewayError::Running { .. } => (Exit::Error, Some(AT_WORK)),
        GatewayError::Starting => {
            (Exit::Error, Some("`sarsen gateway url` prints its address once it listens"))
        }
        GatewayError::None => (Exit::Error, Some("`sarsen gateway run` starts one")),
        GatewayError::Listen { source, .. } => {
            let hint = match source.kind() {
                io::ErrorKind::AddrInUse => Some(OTHER_PORT),
                io::ErrorKind::PermissionDenied => Some(LOW_PORT),
                io::ErrorKind::AddrNotAvailable => Some(NO_ADDRESS),
                _ => None,
            };
            (Exit::Error, hint)
        }
        GatewayError::Open { .. } => {
            (Exit::Usage, Some("docs/operating/web.md says how other machines reach it"))
        }
        GatewayError::NoTahoe { .. } => (
            Exit::Usage,
            Some(
                "run a gateway on each machine that has the `tahoe` command, with `--listen 127.0.0.1:3456`",
            ),
        ),
        GatewayError::Foreign { .. } => {
            (Exit::Usage, Some("name a new folder, and give it to the command: tahoe -d FOLDER ls"))
        }
    })
}

fn tls_hint(error: &TlsError) -> Option<&'static str> {
    match error {
        TlsError::NoCertificate { .. } => Some(
            "a certificate in PEM begins with -----BEGIN CERTIFICATE-----; are the two files in their places?",
        ),
        TlsError::NoKey { .. } => Some(
            "a key in PEM begins with -----BEGIN PRIVATE KEY-----, and has no passphrase; are the two files in their places?",
        ),
        TlsError::Pair { .. } => Some(
            "the first certificate of the file is to be the gateway's own, and the key the one that it was made with",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_has_a_hint_of_its_own() {
        let hint = |kind: io::ErrorKind| {
            let address = "127.0.0.1:3456".parse().unwrap();
            let error = GatewayError::Listen { address, source: kind.into() };
            classify(&error.into()).unwrap().1.unwrap_or_default()
        };
        assert!(hint(io::ErrorKind::AddrInUse).contains("--listen 127.0.0.1:3457"));
        assert!(hint(io::ErrorKind::PermissionDenied).contains("1024"));
        assert_eq!(hint(io::ErrorKind::Other), "");
    }
}
