//! Connections that are opened and never used: half of a handshake, or all of it and no hello.

use std::time::Duration;

use anyhow::Result;
use samara_protocol::limits::UNADMITTED_PER_ADDRESS_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Insider, Link, Seen};

/// Connections with one victim that it tries to hold at one time.
const CONNECTIONS: usize = 3 * UNADMITTED_PER_ADDRESS_MAX;
/// How long it waits before it opens again what the victim has closed: this is a hoard, not a storm.
const REOPEN: Duration = Duration::from_millis(500);
/// The beginning of a handshake: multistream, the name of TLS and the head of a record that does not come.
const HALF_HANDSHAKE: &[u8] = b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n\x16\x03\x01\x02\x00";

/// How far a connection is brought before it is left alone.
#[derive(Clone, Copy)]
enum Stage {
    /// It is there.
    Silent,
    /// Half a TLS handshake.
    Half,
    /// TLS and the muxer; what is missing is a hello.
    Unsaid,
}

/// Holds as many as it can; whichever the victim closes is soon opened again.
pub(super) async fn connections(insider: &Insider, victim: &str, seen: &Seen) -> Result<()> {
    let stages = [Stage::Silent, Stage::Half, Stage::Unsaid].into_iter().cycle();
    let held = stages.take(CONNECTIONS).map(|stage| hold(stage, insider, victim, seen));
    futures::future::join_all(held).await;
    Ok(())
}

/// One after the other, each as long as the victim lets it be.
async fn hold(stage: Stage, insider: &Insider, victim: &str, seen: &Seen) -> ! {
    loop {
        // That the victim does not want it is the purpose.
        let _ = once(stage, insider, victim, seen).await;
        tokio::time::sleep(REOPEN).await;
    }
}

async fn once(stage: Stage, insider: &Insider, victim: &str, seen: &Seen) -> Result<()> {
    let said: &[u8] = match stage {
        Stage::Silent => &[],
        Stage::Half => HALF_HANDSHAKE,
        Stage::Unsaid => {
            let mut link = Link::dial(insider, victim).await?;
            seen.holds_one_more();
            link.closed().await;
            seen.holds_one_less();
            return Ok(());
        }
    };
    let mut stream = TcpStream::connect(victim).await?;
    stream.write_all(said).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
