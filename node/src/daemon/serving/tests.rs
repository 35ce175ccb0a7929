//! Answers over real connections from a real store, and what they hold of the budget meanwhile.

use std::time::Duration;

use samara_protocol::id::{ManifestId, NodeId, Part, ProductId, RequestId};
use samara_protocol::limits::GROUP_BYTES;
use samara_protocol::manifest::layout::ArtifactRef;
use samara_protocol::wire::data::Ask;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::daemon::fetching::Fetching;
use crate::net::{Gate, Introduction, Net, NetConfig, NetEvent, NetHandle, ReplyFrame, ReplySource, Seat, Verdict};
use crate::store::{Place, Source, StoreOptions};

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(20);
const PRODUCT: ProductId = ProductId([0xa1; 32]);
/// Groups of the one artifact that there is.
const GROUPS: u32 = 128;
/// Groups of a portion.
const PORTION: u32 = 16;

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

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"))
}

/// A node that serves, one that asks, and what the first answers from.
struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    layout: Arc<Layout>,
    asker: NetHandle,
    /// Kept, so that the asker's network is not stalled.
    _asker_events: mpsc::Receiver<NetEvent>,
    server: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    budget: ServeBudget,
    reports: mpsc::Sender<Report>,
    reported: mpsc::Receiver<Report>,
}

fn id() -> LayoutId {
    LayoutId {
        manifest: ManifestId([7; 32]),
        part: Part::Payload,
    }
}

fn filled(dir: &std::path::Path) -> (Store, Arc<Layout>) {
    let (store, _) = Store::open(&dir.join("store"), StoreOptions::default()).expect("a new store");
    let file = dir.join("file");
    let bytes: Vec<u8> = (0..GROUPS)
        .flat_map(|group| vec![group.to_le_bytes()[0]; 1 << 16])
        .collect();
    std::fs::write(&file, bytes).expect("written");
    let artifacts: Vec<ArtifactRef> = store.import(&[Source::from(file)], Place::Copy).expect("imported");
    let layout = Arc::new(Layout::single(artifacts[0]).expect("one artifact"));
    store.open_layout(id(), Arc::clone(&layout)).expect("opens");
    (store, layout)
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (store, layout) = filled(dir.path());
        let start = async |seed: u8| {
            let mut config = NetConfig::new([seed; 32]);
            config.listen = vec!["127.0.0.1:0".to_owned()];
            config.quic = false;
            config.window_growth = 0;
            Net::start(config, Arc::new(Open)).await.expect("starts")
        };
        let (server, mut events) = start(1).await;
        let (asker, mut asker_events) = start(2).await;
        asker
            .dial(server.local(), &server.listening(), PRODUCT)
            .expect("an address");
        for events in [&mut events, &mut asker_events] {
            let up = async { while !matches!(events.recv().await, Some(NetEvent::Up(_))) {} };
            in_time("up", up).await;
        }
        let (reports, reported) = mpsc::channel(256);
        Self {
            _dir: dir,
            store,
            layout,
            asker,
            _asker_events: asker_events,
            server,
            events,
            budget: ServeBudget::new(),
            reports,
            reported,
        }
    }

    /// The asker asks for all groups; the task that answers, and the way to tell it what to send.
    async fn ask(&mut self) -> (ReplySource, mpsc::Sender<ServeCommand>, JoinHandle<()>) {
        let groups = RangeSet::from(0..GROUPS);
        let source = self
            .asker
            .ask(self.server.local(), Ask::Groups { layout: id(), groups });
        let asked = async {
            loop {
                if let Some(NetEvent::Asked { reply, .. }) = self.events.recv().await {
                    break reply;
                }
            }
        };
        let sink = in_time("an ask", asked).await;
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let serving = Serving {
            serve: sink.serve(),
            distance: Distance::Region,
            id: id(),
            store: self.store.clone(),
            layout: Some(Arc::clone(&self.layout)),
            sink,
            commands: received,
            budget: self.budget.clone(),
            reports: self.reports.clone(),
            reply: None,
        };
        (source, commands, tokio::spawn(serving.run()))
    }

    async fn expect_gone(&mut self) {
        let gone = async { while !matches!(self.reported.recv().await, Some(Report::ServeGone { .. })) {} };
        in_time("a report that nobody waits", gone).await;
    }
}

async fn send(commands: &mpsc::Sender<ServeCommand>, groups: std::ops::Range<u32>, last: bool) {
    let groups = RangeSet::from(groups);
    let command = ServeCommand::Send { groups, last };
    commands.send(command).await.expect("the task runs");
}

#[tokio::test]
async fn an_ask_that_is_taken_back_while_it_waits_for_the_budget_ends_at_once() {
    let mut bench = Bench::new().await;
    let all = bench.budget.take(SERVE_BYTES_MAX).await;
    let (source, commands, task) = bench.ask().await;
    send(&commands, 0..4, false).await;
    drop(source);
    in_time("the task ends", task).await.expect("ends well");
    bench.expect_gone().await;
    drop(all);
    drop(in_time("nothing is held", bench.budget.take(SERVE_BYTES_MAX)).await);
}

#[tokio::test]
async fn an_ask_that_is_taken_back_while_the_socket_takes_nothing_gives_its_budget_back() {
    let mut bench = Bench::new().await;
    let (source, commands, task) = bench.ask().await;
    // More than the asker's queue and the buffers between the two take while nobody reads.
    for portion in 0..GROUPS / PORTION {
        send(&commands, portion * PORTION..(portion + 1) * PORTION, false).await;
    }
    let stuck = async {
        while bench.budget.bytes.available_permits() as u64 + 2 * u64::from(PORTION) * GROUP_BYTES != SERVE_BYTES_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    in_time("two portions wait for the socket", stuck).await;
    drop(source);
    in_time("the task ends", task).await.expect("ends well");
    drop(in_time("nothing is held", bench.budget.take(SERVE_BYTES_MAX)).await);
}

/// Two stores: one that holds everything and answers, one that holds nothing and asks.
#[tokio::test]
async fn what_was_on_its_way_when_an_ask_was_taken_back_is_verified_written_and_told() {
    let mut bench = Bench::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let (store, _) = Store::open(&dir.path().join("store"), StoreOptions::default()).expect("a new store");
    store.open_layout(id(), Arc::clone(&bench.layout)).expect("opens");
    let (source, commands, task) = bench.ask().await;
    send(&commands, 0..PORTION, false).await;
    let sent = async { while !matches!(bench.reported.recv().await, Some(Report::ServeSent { .. })) {} };
    in_time("a portion in the socket", sent).await;
    let (reports, mut reported) = mpsc::channel(256);
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let fetching = Fetching {
        request: RequestId(1),
        from: (bench.server.local(), Distance::Region),
        id: id(),
        layout: Arc::clone(&bench.layout),
        store: store.clone(),
        groups: RangeSet::from(0..GROUPS),
        source,
        cancelled,
        reports,
    };
    in_time("the fetch ends", fetching.run()).await;
    let mut told = RangeSet::new();
    while let Some(report) = reported.recv().await {
        if let Report::FetchVerified(verified) = report {
            told.union_with(&verified.groups);
        }
    }
    let came = RangeSet::from(0..PORTION);
    assert_eq!(told, came);
    assert_eq!(
        store.missing(id(), &RangeSet::from(0..GROUPS)).expect("open"),
        RangeSet::from(PORTION..GROUPS)
    );
    in_time("whoever answers ends", task).await.expect("ends well");
}

#[tokio::test]
async fn a_portion_that_the_socket_took_makes_room_for_the_next_of_its_own_ask() {
    let mut bench = Bench::new().await;
    let _others = bench.budget.take(SERVE_BYTES_MAX - GROUP_BYTES).await;
    let (mut source, commands, task) = bench.ask().await;
    for group in 0..3 {
        send(&commands, group..group + 1, group == 2).await;
    }
    let mut groups = Vec::new();
    loop {
        match in_time("a frame", source.next()).await.expect("the reply goes on") {
            ReplyFrame::Group { header, .. } => groups.push(header.group),
            ReplyFrame::End(status) => break assert_eq!(status, EndStatus::Done),
            ReplyFrame::Begun | ReplyFrame::File { .. } => panic!("groups were asked for"),
        }
    }
    assert_eq!(groups, [0, 1, 2]);
    in_time("the task ends", task).await.expect("ends well");
}

#[tokio::test]
async fn what_was_sent_is_reported_with_the_distance_at_which_it_was_asked_for() {
    let mut bench = Bench::new().await;
    let (source, commands, task) = bench.ask().await;
    send(&commands, 0..1, false).await;
    let reported = in_time("a report", bench.reported.recv()).await.expect("there");
    match reported {
        Report::ServeSent { distance, bytes, .. } => assert_eq!((distance, bytes), (Distance::Region, GROUP_BYTES)),
        other => panic!("{other:?}"),
    }
    drop((source, commands));
    in_time("the task ends", task).await.expect("ends well");
}

#[test]
fn a_small_portion_does_not_hold_a_large_ones_memory() {
    let budget = ServeBudget::new();
    let large = vec![0; 1 << 20];
    budget.give_back(large);
    assert!(budget.buffer(64 << 10).into_vec().capacity() <= 128 << 10);
    assert!(
        budget.buffer(600 << 10).into_vec().capacity() >= 1 << 20,
        "it is of use to one of its size"
    );
    assert!(
        budget.buffer(600 << 10).into_vec().capacity() < 1 << 20,
        "and then it is gone"
    );
    for _ in 0..3 {
        budget.give_back(vec![0; 1 << 20]);
    }
    assert_eq!(budget.spare.lock().expect("no panic").len(), SPARE_MAX);
}
