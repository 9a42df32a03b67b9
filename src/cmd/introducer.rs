//! `sarsen introducer`: make one, run one.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use introducer::node::{self, IntroducerNode};
use introducer::{Introducer, Parts};
use protocol::OsRandom;
use protocol::quic::{QuicListener, bind, reachable, server_config};

use crate::cli::IntroducerCommand;

pub(crate) async fn run(command: &IntroducerCommand) -> anyhow::Result<()> {
    match command {
        IntroducerCommand::Init { introducer_dir, listen } => {
            let listen = super::server::fixed_port(listen)?;
            node::init(introducer_dir, listen, &OsRandom)?;
            if listen.ip().is_unspecified() {
                // The address that others can use, instead of "all of them".
                IntroducerNode::open(introducer_dir)?.write_url(reachable(listen))?;
            }
            eprintln!("Its address is in {}.", introducer_dir.join("introducer.url").display());
            eprintln!("Start it with: sarsen introducer run {}", introducer_dir.display());
            Ok(())
        }
        IntroducerCommand::Run { introducer_dir } => serve(introducer_dir).await,
    }
}

async fn serve(dir: &Path) -> anyhow::Result<()> {
    let node = IntroducerNode::open(dir)?;
    let mut parts = Parts::new(Arc::new(node.keep()));
    parts.members = Arc::new(node.members_keep());
    parts.limits.owners = node.config().owners.clone();
    let introducer = Introducer::new(parts)?;
    let listen = node.config().listen;
    let (endpoint, buffers) = bind(listen, Some(server_config(node.key())))
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = node.write_url(reachable(endpoint.local_addr()?))?;
    super::server::warn_of_small_buffers(buffers);
    tracing::info!(%address, "the introducer listens");
    let listener = Arc::new(QuicListener::new(endpoint));
    tokio::select! {
        () = introducer.clone().serve(listener) => {}
        () = super::server::told_to_stop() => {
            tracing::info!("stopping");
            introducer.close();
        }
    }
    Ok(())
}
