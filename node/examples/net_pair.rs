//! How fast two nodes move payload: `net_pair [MIB] [ASKS]` starts a second process that serves dummy groups over
//! loopback and fetches them, nothing hashed, nothing stored. Prints MB/s and CPU seconds per GiB of both.
#![allow(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use samara_node::net::{Gate, Introduction, Net, NetConfig, NetEvent, NetHandle, ReplyFrame, ReplySink, Seat, Verdict};
use samara_protocol::id::{LayoutId, ManifestId, NodeId, Part, ProductId};
use samara_protocol::tree::ranges::RangeSet;
use samara_protocol::wire::data::{Ask, ENCODING_RAW, EndStatus, GroupHeader};
use tokio::sync::mpsc;

const PRODUCT: ProductId = ProductId([1; 32]);
const GROUP: u32 = 64 << 10;
const PROOF: u16 = 64;
/// Groups of one ask: 16 MiB.
const ASK_GROUPS: u32 = 256;
/// Groups in one buffer of the responder.
const SLICE_GROUPS: u32 = 16;

struct Open;

impl Gate for Open {
    fn hello(&self, _: NodeId, _: ProductId) -> Option<Introduction> {
        Some(Introduction {
            credentials: Vec::new(),
            summary: Vec::new(),
        })
    }

    fn judge(&self, _: NodeId, _: ProductId, _: &[u8], _: bool) -> Verdict {
        Verdict::Admit {
            expired: false,
            seat: Seat::Own,
        }
    }

    fn is_banned(&self, _: NodeId) -> bool {
        false
    }
}

fn main() -> anyhow::Result<()> {
    samara_node::heap::tune();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let number = |at: usize, default: u64| args.get(at).map_or(Ok(default), |text| text.parse());
    if args.first().is_some_and(|arg| arg == "serve") {
        return runtime.block_on(serve());
    }
    runtime.block_on(fetch(number(0, 2048)?, number(1, 4)?))
}

fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_rss() -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.trim_start_matches("VmHWM:").trim().to_owned()
}

async fn serve() -> anyhow::Result<()> {
    let mut config = NetConfig::new([1; 32]);
    config.listen = vec!["127.0.0.1:0".to_owned()];
    let (net, mut events) = Net::start(config, Arc::new(Open)).await?;
    println!("{} {}", net.local(), net.listening()[0]);
    let mut began = 0.0;
    while let Some(event) = events.recv().await {
        match event {
            NetEvent::Up(_) => began = cpu_seconds(),
            NetEvent::Asked {
                ask: Ask::Groups { groups, .. },
                reply,
                ..
            } => {
                tokio::spawn(answer(groups, reply));
            }
            NetEvent::Down { .. } => {
                println!("{} {}", cpu_seconds() - began, peak_rss());
                return Ok(());
            }
            _ => {}
        }
    }
    Ok(())
}

async fn answer(groups: RangeSet, reply: ReplySink) -> anyhow::Result<()> {
    let numbers: Vec<u32> = groups.iter().collect();
    let mut spare = Vec::new();
    let mut before = None;
    for slice in numbers.chunks(SLICE_GROUPS as usize) {
        let mut bytes: Vec<u8> = std::mem::take(&mut spare);
        bytes.resize(
            slice.len() * (GroupHeader::BYTES + usize::from(PROOF) + GROUP as usize),
            7,
        );
        for (frame, group) in bytes
            .chunks_mut(GroupHeader::BYTES + usize::from(PROOF) + GROUP as usize)
            .zip(slice)
        {
            let header = GroupHeader {
                id: reply.wire_id(),
                group: *group,
                encoding: ENCODING_RAW,
                proof_len: PROOF,
                data_len: GROUP,
            };
            frame[..GroupHeader::BYTES].copy_from_slice(&header.encode());
        }
        let written = reply.send(bytes).await?;
        if let Some(before) = before.replace(written) {
            spare = before.await?;
        }
    }
    reply.end(EndStatus::Done).await?;
    Ok(())
}

async fn fetch(mib: u64, asks: u64) -> anyhow::Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = lines
        .next()
        .ok_or_else(|| anyhow::anyhow!("the other process ended"))??;
    let (peer, address) = line
        .split_once(' ')
        .ok_or_else(|| anyhow::anyhow!("no address in `{line}`"))?;
    let peer: NodeId = peer.parse()?;
    let (net, mut events) = Net::start(NetConfig::new([2; 32]), Arc::new(Open)).await?;
    net.dial(peer, &[address.to_owned()], PRODUCT)?;
    match tokio::time::timeout(Duration::from_secs(10), events.recv()).await? {
        Some(NetEvent::Up(_)) => {}
        other => anyhow::bail!("not up: {other:?}"),
    }
    let (cpu, began) = (cpu_seconds(), Instant::now());
    let total = mib << 20;
    let bytes = fetch_all(&net, peer, total, asks).await?;
    let (cpu, seconds) = (cpu_seconds() - cpu, began.elapsed().as_secs_f64());
    anyhow::ensure!(bytes == total, "{bytes} bytes came instead of {total}");
    net.shutdown().await;
    let line = lines
        .next()
        .ok_or_else(|| anyhow::anyhow!("the other process ended"))??;
    child.wait()?;
    let (theirs, their_rss) = line.split_once(' ').unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (gib, mega) = (total as f64 / f64::from(1 << 30), total as f64 / 1e6);
    println!(
        "{:.0} MB/s, CPU s/GiB receiver {:.2} sender {:.2}, peak RSS receiver {} sender {}",
        mega / seconds,
        cpu / gib,
        theirs.parse::<f64>().unwrap_or(f64::NAN) / gib,
        peak_rss(),
        their_rss,
    );
    Ok(())
}

async fn fetch_all(net: &NetHandle, peer: NodeId, total: u64, asks: u64) -> anyhow::Result<u64> {
    let groups = u32::try_from(total / u64::from(GROUP))?;
    let (work, queue) = mpsc::channel(1);
    let queue = Arc::new(tokio::sync::Mutex::new(queue));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..asks {
        let (net, queue) = (net.clone(), Arc::clone(&queue));
        workers.spawn(async move {
            let mut bytes = 0;
            while let Some(span) = { queue.lock().await.recv().await } {
                bytes += fetch_span(&net, peer, span).await?;
            }
            anyhow::Ok(bytes)
        });
    }
    for start in (0..groups).step_by(ASK_GROUPS as usize) {
        work.send(RangeSet::from(start..groups.min(start + ASK_GROUPS))).await?;
    }
    drop(work);
    let mut bytes = 0;
    while let Some(done) = workers.join_next().await {
        bytes += done??;
    }
    Ok(bytes)
}

async fn fetch_span(net: &NetHandle, peer: NodeId, groups: RangeSet) -> anyhow::Result<u64> {
    let layout = LayoutId {
        manifest: ManifestId([3; 32]),
        part: Part::Payload,
    };
    let mut source = net.ask(peer, Ask::Groups { layout, groups });
    let (mut bytes, mut frames) = (0, Vec::new());
    loop {
        source.next_many(&mut frames, 16).await?;
        for frame in frames.drain(..) {
            match frame {
                ReplyFrame::Group { header, .. } => bytes += u64::from(header.data_len),
                ReplyFrame::End(EndStatus::Done) => return Ok(bytes),
                other => anyhow::bail!("unexpected {other:?}"),
            }
        }
    }
}
