//! `sarsen forget`: a server that is gone for good.

use std::path::Path;

use client::{ClientDir, Server};
use protocol::{Clock, SystemClock};

/// This client knows no such server, or several.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSuchServer {
    #[error("this client knows no server {name}")]
    Unknown {
        /// What was given.
        name: String,
    },
    #[error("{name} may be any of {count} servers")]
    Several {
        /// What was given.
        name: String,
        /// How many are called so.
        count: usize,
    },
}

pub(crate) fn run(dir: &Path, name: &str, quiet: bool) -> anyhow::Result<()> {
    let now = SystemClock::default().unix_time();
    let dir = ClientDir::open(dir)?;
    let grid = dir.grid_view()?;
    let server = named(grid.servers(), name)?;
    grid.forget(&server.id, now);
    grid.save()?;
    grid.away().save(now)?;
    if !quiet {
        eprintln!("{} is forgotten, until it announces itself anew.", server.name());
        eprintln!("What it held is missing now: `sarsen check -r --repair` makes it anew on others.");
    }
    Ok(())
}

/// The server of this key, or of this name, or whose key begins so.
fn named(servers: Vec<Server>, name: &str) -> Result<Server, NoSuchServer> {
    let mut meant: Vec<Server> = servers
        .into_iter()
        .filter(|server| {
            let key = server.id.to_string();
            key == name
                || server.nickname == name
                || server.name() == name
                || name.len() >= 8 && key.starts_with(name)
        })
        .collect();
    let name = name.to_owned();
    match (meant.pop(), meant.len()) {
        (Some(server), 0) => Ok(server),
        (Some(_), others) => Err(NoSuchServer::Several { name, count: others + 1 }),
        (None, _) => Err(NoSuchServer::Unknown { name }),
    }
}
