//! The grammar of the gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum GatewayCommand {
    /// Serve the grid over HTTP until told to stop: Tahoe's web API and a web page
    Run(GatewayRun),
    /// Print the address of the gateway that runs, with the token, to open in a browser
    Url,
}

#[derive(Args)]
pub(crate) struct GatewayRun {
    /// Where to listen; a port alone is of 127.0.0.1
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:3456", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// A further name by which browsers may call it, at any port or at the one that is given; may be given several times
    #[arg(long = "host", value_name = "NAME[:PORT]", value_parser = host)]
    pub(crate) hosts: Vec<String>,
    /// Write a folder for the `tahoe` command, whose node.url names this gateway: a new one, or one that a gateway wrote
    #[arg(long, value_name = "DIR")]
    pub(crate) tahoe_dir: Option<PathBuf>,
    /// Speak TLS, with the certificates in this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS too, and want no token of who brings a cap; aliases, the grid and what is linked
    /// nowhere want it still
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// Where to listen.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    let wanted = "IP:PORT is wanted, as in 127.0.0.1:3456, 0.0.0.0:3456 or [::1]:3456, or a port alone";
    text.parse().map_err(|_| wanted.to_owned())
}

/// A name as it stands in `Host`, lest the gateway wait for one that no browser says.
fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number.to_string() == port);
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !name.is_empty() && name.len() <= 253 && name.chars().all(known) && port.is_none_or(is_port) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("a name or an address is wanted, with a port or without, as in grid.example, grid.example:8443 or 192.0.2.7; no http://, no path, no *, and of other signs than letters, digits and - the form that begins with xn--".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen_is_told_in_several_forms() {
        for (text, wanted) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("80", "127.0.0.1:80"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(listen(text).unwrap().to_string(), wanted, "{text}");
        }
        for text in ["", "localhost", "127.0.0.1", "grid.example:80", "::1", "99999", ":80", "localhost:::1"]
        {
            assert!(listen(text).unwrap_err().contains("IP:PORT is wanted"), "{text}");
        }
    }

    #[test]
    fn a_host_is_what_browsers_say() {
        for (text, wanted) in [
            ("grid.example", "grid.example"),
            ("Grid.Example:8443", "grid.example:8443"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7:80", "192.0.2.7:80"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8:0::1]", "2001:db8::1"),
            ("[2001:DB8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(host(text).unwrap(), wanted);
        }
        for text in [
            "",
            ":80",
            "http://grid.example",
            "grid.example/",
            "*.example",
            "a b",
            "a:b",
            "a:1:2",
            "a:070",
            "grüße.example",
            "a@b",
        ] {
            assert!(host(text).unwrap_err().contains("a name or an address"), "{text}");
        }
    }
}
