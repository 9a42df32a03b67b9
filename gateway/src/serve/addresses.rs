//! How many connections each address has, so that none takes all places.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

/// Addresses that are connected. Those of one IPv6 subnet, which one host may all have, count as one.
pub(super) struct Addresses {
    most: usize,
    connected: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address.
pub(super) struct Counted(Option<(Arc<Addresses>, IpAddr)>);

impl Addresses {
    /// Addresses of which each may have so many connections.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, connected: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.connected.lock().expect("no code panics while it holds this lock")
    }

    /// Counts one more connection; nothing, if the address has as many as it may. This machine may have any number.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Counted> {
        let from = match from.to_canonical() {
            from if from.is_loopback() => return Some(Counted(None)),
            IpAddr::V6(from) => IpAddr::V6(Ipv6Addr::from_bits(from.to_bits() & (!0 << 64))),
            from => from,
        };
        let mut connected = self.lock();
        let count = connected.entry(from).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Counted(Some((self.clone(), from))))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((addresses, from)) = self.0.take() else { return };
        let mut connected = addresses.lock();
        if let Some(count) = connected.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                connected.remove(&from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_takes_more_than_its_share() {
        let addresses = Addresses::new(2);
        let enter = |from: &str| addresses.enter(from.parse().unwrap());
        let mut held = vec![enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap()];
        assert!(enter("192.0.2.1").is_none());
        held.extend([
            enter("192.0.2.2").unwrap(),
            enter("2001:db8::1").unwrap(),
            enter("2001:db8::2").unwrap(),
        ]);
        assert!(enter("2001:db8::3").is_none() && enter("2001:db8:0:1::3").is_some());
        held.extend((0..10).map(|_| enter("127.0.0.1").unwrap()));
        held.extend((0..10).map(|_| enter("::1").unwrap()));
        held.remove(0);
        assert!(enter("192.0.2.1").is_some(), "a place that was given back is free");
        drop(held);
        assert!(addresses.lock().is_empty(), "who is gone is forgotten");
    }
}
