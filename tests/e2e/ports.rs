//! Ports that no two processes of these tests get.
//!
//! `init` takes a free port and lets it go until `run`: where ten servers are made at once, and other tests make theirs, two of
//! them now and then take the same.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Mutex;

/// Below those that Linux gives to whoever asks for any.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// The locks of the ports of this process: they are let go when it ends.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// An address on loopback whose port is nobody else's while this process lives.
pub(crate) fn free() -> String {
    let folder =
        std::env::temp_dir().join(format!("sarsen-e2e-ports-{}", rustix::process::getuid().as_raw()));
    fs::create_dir_all(&folder).unwrap();
    let mut held = HELD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Processes begin at different places, so that they seldom meet.
    let from = std::process::id() as usize * 97 + held.len();
    let port = PORTS.cycle().skip(from % PORTS.len()).take(PORTS.len()).find(|&port| {
        let lock = OpenOptions::new().create(true).append(true).open(folder.join(port.to_string())).unwrap();
        let ours = lock.try_lock().is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if ours {
            held.push(lock);
        }
        ours
    });
    format!("127.0.0.1:{}", port.expect("no port is free"))
}
