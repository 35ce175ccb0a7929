//! The emulator beside what it emulates: iperf3, and datagrams of our own, must find the links that were asked for.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::{Finished, Process};

const MS: Duration = Duration::from_millis(1);
/// How long any of this may take before it counts as hung.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes sent before all of them are accounted for: fewer than a socket holds with all that the kernel adds to each datagram.
const BATCH: usize = 20_000;

fn pair(seed: u64, a: Link, b: Link) -> Wan {
    Wan::new(seed, [("a", a), ("b", b)]).expect("root may")
}

fn up(shape: Shape) -> Link {
    Link {
        up: shape,
        ..Link::default()
    }
}

fn socket(wan: &Wan, place: &str) -> UdpSocket {
    // Any port: a program that another test is about to start may hold a closed one for a moment.
    let address = format!("{}:0", wan.address(place));
    let socket = wan
        .inside(place, || UdpSocket::bind(&address))
        .expect("the place is there")
        .expect("a port is free");
    socket.set_read_timeout(Some(20 * MS)).expect("more than nothing");
    socket
}

/// Sends numbered datagrams from `a` to `b`; the numbers that came, in their order. Ends when each has come or is counted.
fn datagrams(wan: &Wan, count: u32, bytes: usize) -> Vec<u32> {
    let (from, to) = (socket(wan, "a"), socket(wan, "b"));
    let target = to.local_addr().expect("it is bound");
    let before = [wan.traffic("a").up, wan.traffic("b").down];
    let mut arrived = Vec::new();
    let (mut datagram, mut buffer) = (vec![0; bytes], [0; 2000]);
    let batch = u32::try_from(BATCH / bytes).expect("small");
    let deadline = Instant::now() + LIMIT;
    for sent in 1..=count {
        datagram[..4].copy_from_slice(&sent.to_le_bytes());
        from.send_to(&datagram, target).expect("it is sent");
        while (sent.is_multiple_of(batch) || sent == count) && !is_settled(wan, before, sent, arrived.len()) {
            assert!(
                Instant::now() < deadline,
                "{:?} {:?}",
                wan.traffic("a"),
                wan.traffic("b")
            );
            if let Ok(length) = to.recv(&mut buffer) {
                assert_eq!(length, bytes);
                arrived.push(u32::from_le_bytes(buffer[..4].try_into().expect("four bytes")));
            }
        }
    }
    arrived
}

/// Whether nothing of what was sent is under way any more.
fn is_settled(wan: &Wan, before: [Traffic; 2], sent: u32, arrived: usize) -> bool {
    let up = wan.traffic("a").up.since(&before[0]);
    let down = wan.traffic("b").down.since(&before[1]);
    let all_out = [up, down].map(|lane| lane.offered + lane.duplicated == lane.packets + lane.dropped());
    let handed_on = up.offered == u64::from(sent) && down.offered == up.packets && down.packets == arrived as u64;
    handed_on && all_out == [true, true]
}

/// How long a datagram takes from `a` to `b`, and back; sorted.
fn echoes(wan: &Wan, count: usize) -> [Vec<Duration>; 2] {
    let (a, b) = (socket(wan, "a"), socket(wan, "b"));
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..count {
        for ((from, to), times) in [(&a, &b), (&b, &a)].into_iter().zip(&mut times) {
            let target = to.local_addr().expect("it is bound");
            to.set_read_timeout(Some(LIMIT)).expect("more than nothing");
            let started = Instant::now();
            from.send_to(b"x", target).expect("it is sent");
            to.recv(&mut [0; 8]).expect("it comes");
            times.push(started.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort();
        times
    })
}

/// What `iperf3 -c` from `a` to `b` says.
fn iperf(wan: &Wan, arguments: &[&str]) -> Value {
    let mut server = wan.command("b", "iperf3");
    let server = Process::start(server.args(["-s", "-1", "--forceflush"])).expect("iperf3 starts");
    let listens = |text: &str| text.contains("listening").then_some(());
    server.result("iperf3 to listen", LIMIT, listens).expect("it does");
    let mut client = wan.command("a", "iperf3");
    client.args(["-J", "-c", &wan.address("b")]).args(arguments);
    let said = Finished::of(&mut client, LIMIT).and_then(Finished::success);
    said.expect("it measures").json().expect("it prints JSON")
}

fn mbit_received(said: &Value) -> f64 {
    said["end"]["sum_received"]["bits_per_second"].as_f64().expect("a rate") / 1e6
}

#[test]
fn a_tcp_stream_gets_what_headers_leave_of_the_rate() {
    if !runnable("a TCP stream on an emulated link", &["iperf3"]) {
        return;
    }
    let shape = Shape {
        mbit: Some(40.0),
        delay: 5 * MS,
        ..Shape::default()
    };
    let wan = pair(1, up(shape), Link::both(Shape { mbit: None, ..shape }));
    let got = mbit_received(&iperf(&wan, &["-t", "3", "-O", "1"]));
    let possible = 40.0 * 1448.0 / 1500.0;
    assert!((got / possible - 1.0).abs() < 0.04, "{got} of {possible} Mbit/s");
    let traffic = wan.traffic("a").up;
    assert!(traffic.packets > 10_000 && traffic.bytes > 15_000_000, "{traffic:?}");
    assert_eq!(wan.overruns().expect("the tables are there"), 0, "{:?}", wan.lateness());
}

/// Far below what it does alone on one core; printed for whoever asks with `--no-capture`.
#[test]
fn links_without_a_limit_carry_hundreds_of_megabits() {
    if !runnable("the speed of an emulated network", &["iperf3"]) {
        return;
    }
    let wan = pair(10, Link::default(), Link::default());
    for arguments in [&["-t", "2"][..], &["-t", "2", "--bidir"], &["-t", "2", "-P", "8"]] {
        let before = wan.traffic("a");
        let started = Instant::now();
        let got = mbit_received(&iperf(&wan, arguments));
        let traffic = wan.traffic("a");
        let packets = traffic.up.packets + traffic.down.packets - before.up.packets - before.down.packets;
        println!(
            "{arguments:?}: {got:.0} Mbit/s one way, {packets} packets in {:?}, {:?}, {} overruns",
            started.elapsed(),
            wan.lateness(),
            wan.overruns().expect("the tables are there")
        );
        assert!(got > 100.0, "{arguments:?}: {got} Mbit/s");
    }
}

#[test]
fn iperf_sees_the_loss_that_was_asked_for() {
    if !runnable("loss on an emulated link", &["iperf3"]) {
        return;
    }
    let shape = Shape {
        loss: Loss::random(0.05),
        ..Shape::default()
    };
    let wan = pair(
        2,
        Link::default(),
        Link {
            down: shape,
            ..Link::default()
        },
    );
    let said = iperf(&wan, &["-u", "-b", "4M", "-l", "200", "-t", "3"]);
    let sum = &said["end"]["sum"];
    let (lost, packets) = (sum["lost_packets"].as_f64(), sum["packets"].as_f64());
    let (lost, packets) = (lost.expect("a number"), packets.expect("a number"));
    assert!(packets > 7000.0, "{sum}");
    // Five standard deviations.
    let deviation = (0.05 * 0.95 / packets).sqrt();
    assert!((lost / packets - 0.05).abs() < 5.0 * deviation, "{lost} of {packets}");
    // A receiver that waits for the CPU loses some more; a few of those dropped were not datagrams.
    let dropped = f64::from(u32::try_from(wan.traffic("b").down.loss).expect("some"));
    assert!((lost - dropped).abs() < packets / 100.0, "{dropped} dropped: {sum}");
    assert_eq!(wan.overruns().expect("the tables are there"), 0);
}

#[test]
fn losses_come_in_bursts_and_the_same_ones_for_the_same_seed() {
    if !runnable("bursts of loss on an emulated link", &[]) {
        return;
    }
    const COUNT: u32 = 20_000;
    let shape = Shape {
        loss: Loss::bursty(0.05, 8.0),
        ..Shape::default()
    };
    let arrived = [3, 3, 4].map(|seed| datagrams(&pair(seed, up(shape), Link::default()), COUNT, 100));
    assert_eq!(arrived[0], arrived[1], "one seed");
    assert_ne!(arrived[0], arrived[2], "another seed");
    let lost = f64::from(COUNT) - f64::from(u32::try_from(arrived[0].len()).expect("small"));
    let gaps = arrived[0].windows(2).filter(|pair| pair[1] > pair[0] + 1).count();
    let length = lost / f64::from(u32::try_from(gaps).expect("small"));
    // Some 125 bursts, whose lengths deviate by their own mean.
    let share = lost / f64::from(COUNT);
    assert!((share - 0.05).abs() < 0.02, "{share}");
    assert!((length - 8.0).abs() < 2.5, "{length}");
}

#[test]
fn a_round_trip_takes_what_was_asked_for_and_jitter_spreads_it() {
    if !runnable("delay on an emulated link", &[]) {
        return;
    }
    let delay = |millis| Shape {
        delay: millis * MS,
        ..Shape::default()
    };
    let link = |up, down| Link {
        up: delay(up),
        down: delay(down),
    };
    let wan = pair(5, link(10, 20), link(5, 7));
    let [there, back] = echoes(&wan, 31);
    for (times, asked) in [(&there, 17 * MS), (&back, 25 * MS)] {
        assert!(times[0] >= asked, "{:?} for {asked:?}", times[0]);
        assert!(times[15] < asked + 4 * MS, "{:?} for {asked:?}", times[15]);
    }
    wan.change("a", |link| link.up.jitter = 10 * MS).expect("it may wander");
    let [there, _] = echoes(&wan, 61);
    let spread = there[60] - there[0];
    assert!(there[0] >= 7 * MS && there[0] < 14 * MS, "{:?}", there[0]);
    assert!(
        spread > 8 * MS && there[30] < 27 * MS + 4 * MS,
        "{spread:?} {:?}",
        there[30]
    );
}

#[test]
fn datagrams_come_twice_and_out_of_order_where_asked_for() {
    if !runnable("reordering on an emulated link", &[]) {
        return;
    }
    let mut shape = Shape {
        mbit: Some(10.0),
        ..Shape::default()
    };
    let wan = pair(6, up(shape), Link::default());
    let arrived = datagrams(&wan, 2000, 100);
    assert!(arrived.iter().copied().eq(1..=2000), "none was asked for");
    shape.duplicate = 0.1;
    shape.reorder = Reorder {
        share: 0.05,
        by: 5 * MS,
    };
    wan.change("a", |link| link.up = shape).expect("it may");
    let arrived = datagrams(&wan, 2000, 100);
    let mut once = arrived.clone();
    once.sort_unstable();
    once.dedup();
    assert!(once.iter().copied().eq(1..=2000), "all came");
    let copies = arrived.len() - 2000;
    assert!((140..260).contains(&copies), "{copies}");
    let overtaken = arrived.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!((50..150).contains(&overtaken), "{overtaken}");
}

#[test]
fn only_large_packets_fall_into_an_mtu_black_hole() {
    if !runnable("an MTU black hole on an emulated link", &[]) {
        return;
    }
    let wan = pair(7, Link::default(), Link::default());
    wan.change("b", |link| link.down.mtu = Some(1300)).expect("it may");
    // 28 bytes of headers.
    assert_eq!(datagrams(&wan, 100, 1300 - 28).len(), 100);
    assert_eq!(wan.traffic("b").down.oversize, 0);
    assert_eq!(datagrams(&wan, 100, 1301 - 28).len(), 0);
    assert_eq!(wan.traffic("b").down.oversize, 100);
}

#[test]
fn nothing_passes_a_link_that_is_down_or_a_path_that_is_cut() {
    if !runnable("an outage on an emulated link", &[]) {
        return;
    }
    let wan = pair(8, Link::default(), Link::default());
    assert_eq!(datagrams(&wan, 50, 100).len(), 50);
    wan.set_link("b", false).expect("it may");
    assert_eq!(datagrams(&wan, 50, 100).len(), 0);
    assert_eq!(wan.traffic("b").down.outage, 50);
    wan.set_link("b", true).expect("it may");
    wan.set_path("b", "a", false);
    assert_eq!(datagrams(&wan, 50, 100).len(), 50, "half open: this way it passes");
    wan.set_path("a", "b", false);
    assert_eq!(datagrams(&wan, 50, 100).len(), 0);
    assert_eq!(wan.traffic("a").up.outage, 50);
    wan.set_path("a", "b", true);
    assert_eq!(datagrams(&wan, 50, 100).len(), 50);
}

#[test]
fn figures_that_make_no_sense_are_refused_and_nothing_is_left_behind() {
    let bad = [
        Link::rates(Some(0.0), None),
        Link::rates(None, Some(f64::NAN)),
        up(Shape {
            loss: Loss::bursty(0.9, 2.0),
            ..Shape::default()
        }),
        up(Shape {
            duplicate: 1.5,
            ..Shape::default()
        }),
    ];
    for link in bad {
        assert!(Wan::new(1, [("a", link)]).is_err(), "{link:?}");
    }
    if !runnable("an emulated network", &[]) {
        return;
    }
    let wan = pair(9, Link::default(), Link::default());
    let listed = || {
        let said = Command::new("ip").args(["netns", "list"]).output().expect("ip runs");
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let prefix = format!("{}-", wan.prefix);
    assert_eq!(listed().matches(&prefix).count(), 2);
    drop(wan);
    assert_eq!(listed().matches(&prefix).count(), 0);
}
