//! Where a gateway listens, and what is to be said about that.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::cli::GatewayRun;
use crate::report::GatewayError;

/// What may not be reached at such an address.
///
/// # Errors
///
/// [`GatewayError::Open`], [`GatewayError::NoTahoe`].
pub(super) fn refuse_open(args: &GatewayRun) -> Result<(), GatewayError> {
    let address = args.listen;
    if address.ip().is_loopback() {
        return Ok(());
    }
    if args.tahoe_dir.is_some() {
        return Err(GatewayError::NoTahoe { address });
    }
    match args.tls_cert.is_some() || args.insecure {
        true => Ok(()),
        false => Err(GatewayError::Open { address }),
    }
}

/// The address for people, without the token.
pub(super) fn url(listen: SocketAddr, args: &GatewayRun) -> String {
    let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
    let at = match args.hosts.first() {
        // Listening on all addresses it has none of its own.
        Some(host) if listen.ip().is_unspecified() => with_port(host, listen.port()),
        _ if listen.ip().is_unspecified() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()).to_string()
        }
        _ => listen.to_string(),
    };
    format!("{scheme}://{at}/")
}

fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) if host.contains(':') => host.to_owned(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// What whoever starts it had better know.
pub(super) fn warnings(listen: SocketAddr, args: &GatewayRun) -> Vec<String> {
    let mut said = Vec::new();
    if listen.ip().is_loopback() {
        if args.insecure {
            said.push(format!(
                "note: --insecure changes nothing at {listen}, which only this machine reaches"
            ));
        }
        return said;
    }
    if args.tls_cert.is_none() {
        said.push(format!(
            "warning: whoever is on the way to {listen} may read what passes, capabilities and the token too (no TLS)"
        ));
    }
    if args.insecure {
        said.push(format!(
            "warning: whoever reaches {listen} and has a capability may use it here, and with one that writes store on this account (--insecure)"
        ));
    }
    if listen.ip().is_unspecified() && args.hosts.is_empty() {
        said.push(
            "warning: it listens on all addresses and goes by none but this machine's own: name those that others use with --host"
                .to_owned(),
        );
    }
    said
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: GatewayRun,
    }

    fn args(more: &str) -> GatewayRun {
        Line::try_parse_from(["x"].into_iter().chain(more.split_whitespace())).unwrap().run
    }

    #[test]
    fn people_are_told_a_name_that_leads_here() {
        for (given, wanted) in [
            ("", "http://127.0.0.1:3456/"),
            ("--listen [::1]:80 --host grid.example", "http://[::1]:80/"),
            ("--listen 0.0.0.0:80 --insecure", "http://127.0.0.1:80/"),
            ("--listen [::]:80 --insecure", "http://127.0.0.1:80/"),
            ("--listen 0.0.0.0:80 --host grid.example --host other", "http://grid.example:80/"),
            ("--listen 0.0.0.0:80 --host grid.example:8443", "http://grid.example:8443/"),
            ("--listen 0.0.0.0:80 --host 2001:db8::1", "http://[2001:db8::1]:80/"),
            ("--listen 0.0.0.0:80 --host [2001:db8::1]:81", "http://[2001:db8::1]:81/"),
            ("--listen 10.0.0.1:80 --tls-cert a --tls-key b", "https://10.0.0.1:80/"),
        ] {
            let args = args(given);
            assert_eq!(url(args.listen, &args), wanted, "{given}");
        }
    }

    #[test]
    fn warnings_fit_what_was_asked_for() {
        let said = |given: &str| {
            let args = args(given);
            warnings(args.listen, &args).join("\n")
        };
        assert_eq!(said(""), "");
        assert!(said("--insecure").contains("changes nothing"));
        let tls = said("--listen 10.0.0.1:80 --tls-cert a --tls-key b --insecure");
        assert!(!tls.contains("may read") && tls.contains("may use it"), "{tls}");
        assert_eq!(said("--listen 10.0.0.1:80 --tls-cert a --tls-key b"), "");
        let open = said("--listen 0.0.0.0:80 --insecure");
        assert!(
            open.contains("may read") && open.contains("may use it") && open.contains("--host"),
            "{open}"
        );
        assert!(!said("--listen 0.0.0.0:80 --insecure --host a").contains("--host"));
    }

    #[test]
    fn beyond_this_machine_there_is_tls_and_no_tahoe() {
        let refused = |given: &str| refuse_open(&args(given)).err().map(|error| error.to_string());
        assert_eq!(refused("--tahoe-dir d"), None);
        assert_eq!(refused("--listen 0.0.0.0:1 --insecure"), None);
        assert_eq!(refused("--listen 0.0.0.0:1 --tls-cert a --tls-key b"), None);
        let said = refused("--listen 0.0.0.0:1").unwrap();
        assert!(said.contains("0.0.0.0:1") && said.contains("--tls-cert"), "{said}");
        let said = refused("--listen 0.0.0.0:1 --insecure --tahoe-dir d").unwrap();
        assert!(said.contains("--tahoe-dir is of no use"), "{said}");
    }
}
