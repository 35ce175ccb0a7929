//! Ports for listeners, from a range out of which the kernel gives none by itself.
//!
//! A port that was found by binding port 0 may be anybody's outgoing connection a moment later, before it is bound again.
//! The ports here lie below Linux's `ip_local_port_range`. A program takes a block of them at a time and keeps a listener on
//! the block's first port as its claim, so that several test programs may run side by side.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};

/// The first port of the first block; Linux hands out 32768 and above.
const FIRST: u16 = 20_000;
/// Ports of one block, the claimed one included.
const BLOCK: u16 = 100;
/// Blocks below 32,000.
const BLOCKS: u16 = 120;

/// What this program has claimed, and what it has handed out of that.
struct Claims {
    blocks: Vec<TcpListener>,
    current: u16,
    next: u16,
}

static CLAIMS: Mutex<Claims> = Mutex::new(Claims {
    blocks: Vec::new(),
    current: 0,
    next: BLOCK,
});

/// A port of loopback on which nobody listens, and which is given out once.
///
/// # Errors
/// When all are taken.
pub fn free() -> Result<u16> {
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if claims.next == BLOCK {
            claims.claim()?;
        }
        let port = FIRST + claims.current * BLOCK + claims.next;
        claims.next += 1;
        if is_free(port) {
            return Ok(port);
        }
    }
}

impl Claims {
    fn claim(&mut self) -> Result<()> {
        let from = u16::try_from(std::process::id() % u32::from(BLOCKS))?;
        let mut blocks = (0..BLOCKS).map(|step| (from + step) % BLOCKS);
        let claimed = blocks.find_map(|block| {
            let claim = TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + block * BLOCK)).ok()?;
            Some((block, claim))
        });
        ensure!(
            claimed.is_some(),
            "no free block of ports from {FIRST} to {}",
            FIRST + BLOCKS * BLOCK
        );
        if let Some((block, claim)) = claimed {
            self.blocks.push(claim);
            (self.current, self.next) = (block, 1);
        }
        Ok(())
    }
}

/// Nodes listen on TCP and, for QUIC, on UDP.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ports_are_given_once_and_never_from_the_kernels_own_range() {
        let taken = free().expect("a port");
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).expect("it is free");
        let more: BTreeSet<u16> = (0..150).map(|_| free().expect("a port")).collect();
        assert_eq!(more.len(), 150, "one block and a half, none twice");
        assert!(!more.contains(&taken));
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("Linux");
        let lowest: u16 = range
            .split_whitespace()
            .next()
            .and_then(|port| port.parse().ok())
            .expect("two numbers");
        assert!(more.iter().all(|port| *port < lowest || lowest < FIRST), "{more:?}");
    }
}
