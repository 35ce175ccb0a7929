//! Who asks, and does no good with what comes: one reads nothing of it, the other takes the same again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::SubstreamBox;
use samara_protocol::limits::{
    DATA_STREAMS_MAX, GROUP_BYTES, REQUEST_BYTES_MAX, REQUEST_RANGES_MAX, REQUESTS_PER_PEER_MAX,
};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::data::{Ask, AskFrame, EndStatus, ReplyHeader};
use samara_protocol::wire::frame;
use tokio::sync::watch;

use super::link::DATA;
use super::{Conduct, Link, Seen, Wares};

/// How long it waits after an answer that was none: asked for more often it would be a flood.
const PAUSE: Duration = Duration::from_millis(100);

/// As many data streams as one may have.
pub(super) async fn streams(link: &Link) -> Result<Vec<SubstreamBox>> {
    let mut streams = Vec::new();
    for _ in 0..DATA_STREAMS_MAX {
        streams.push(link.open(DATA).await?.context("data is not offered")?);
    }
    Ok(streams)
}

/// Asks until the victim hangs up; `shown` are the blocks that it gives.
pub(super) async fn run(
    conduct: Conduct,
    streams: Vec<SubstreamBox>,
    wares: Wares,
    shown: watch::Receiver<RangeSet>,
    seen: Arc<Seen>,
) -> Result<()> {
    if conduct == Conduct::Unread {
        unread(streams, &wares, shown).await
    } else {
        let streams = streams
            .into_iter()
            .map(|stream| take(stream, &wares, shown.clone(), &seen));
        futures::future::try_join_all(streams).await.map(drop)
    }
}

/// With each block more that is shown it asks for all that is, as far as one ask goes, until it may ask no more. It reads nothing.
async fn unread(mut streams: Vec<SubstreamBox>, wares: &Wares, mut shown: watch::Receiver<RangeSet>) -> Result<()> {
    let mut asked = 0;
    while asked < REQUESTS_PER_PEER_MAX {
        shown.changed().await?;
        let groups = one_ask(&wares.groups_of(&shown.borrow_and_update()));
        if groups.is_empty() {
            continue;
        }
        let at = asked % streams.len();
        ask(&mut streams[at], wares, u32::try_from(asked)?, groups).await?;
        asked += 1;
    }
    std::future::pending().await
}

/// Takes the first block that was shown, and then the same again, with a share of the asks that one may have open.
async fn take(
    mut stream: SubstreamBox,
    wares: &Wares,
    mut shown: watch::Receiver<RangeSet>,
    seen: &Seen,
) -> Result<()> {
    let first = shown.wait_for(|blocks| !blocks.is_empty()).await?.iter().next();
    let first = first.context("a block was shown")?;
    let groups = one_ask(&wares.groups_of(&RangeSet::from(first..first + 1)));
    let share = u32::try_from(REQUESTS_PER_PEER_MAX / DATA_STREAMS_MAX)?;
    for id in 0..share {
        ask(&mut stream, wares, id, groups.clone()).await?;
    }
    loop {
        let mut header = [0; ReplyHeader::BYTES];
        stream.read_exact(&mut header).await?;
        let header = ReplyHeader::decode(&header)?;
        let mut body = vec![0; header.body_len()];
        stream.read_exact(&mut body).await?;
        match header {
            ReplyHeader::End(end) => {
                if end.status != EndStatus::Done {
                    tokio::time::sleep(PAUSE).await;
                }
                ask(&mut stream, wares, end.id, groups.clone()).await?;
            }
            ReplyHeader::Group(_) | ReplyHeader::File(_) => {
                seen.taken.fetch_add(body.len() as u64, Ordering::SeqCst);
            }
        }
    }
}

/// As much of `groups` as one ask may name.
fn one_ask(groups: &RangeSet) -> RangeSet {
    let mut part = RangeSet::new();
    let mut left = u32::try_from(REQUEST_BYTES_MAX / GROUP_BYTES).expect("some hundred");
    for range in groups.ranges().iter().take(REQUEST_RANGES_MAX) {
        let end = range.end.min(range.start + left);
        if end > range.start {
            part.insert(range.start..end);
            left -= end - range.start;
        }
    }
    part
}

async fn ask(stream: &mut SubstreamBox, wares: &Wares, id: u32, groups: RangeSet) -> Result<()> {
    let layout = wares.id();
    let ask = Ask::Groups { layout, groups };
    stream
        .write_all(&frame::encode(&AskFrame::Ask { id, ask }.encode()))
        .await?;
    Ok(stream.flush().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ask_names_no_more_than_one_may() {
        let mut groups = RangeSet::new();
        (0..100).for_each(|number| groups.insert(number * 10..number * 10 + 5));
        let part = one_ask(&groups);
        assert_eq!((part.ranges().len(), part.count()), (52, 256));
        assert_eq!(one_ask(&RangeSet::from(3..9)), RangeSet::from(3..9));
        (0..100).for_each(|number| groups.insert(2000 + number * 2..2001 + number * 2));
        let narrow = groups.difference(&RangeSet::from(0..2000));
        assert_eq!(one_ask(&narrow).ranges().len(), REQUEST_RANGES_MAX);
    }
}
