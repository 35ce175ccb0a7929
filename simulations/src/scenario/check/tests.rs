//! What is refused, by the name of its field and with the way out.

use super::*;

const NODES: &str = "[[nodes]]\ncount = 1\nrole = \"origin\"\nup = \"50mbit\"\ndown = \"100mbit\"\n";

/// Of the kind that values are tried with: somebody who gets something.
const SITES: &str = "[[nodes]]\ncount = 2\nrole = \"site\"\nup = \"50mbit\"\ndown = \"100mbit\"\n";

#[test]
fn what_no_run_could_move_is_refused_with_its_bound() {
    let many = "[[release]]\nsize = \"1MiB\"\n".repeat(257);
    for (rest, said) in [
        (
            "[[release]]\nsize = \"100TiB\"\n",
            "`release.size`: \"100TiB\" is too large; a release has at most 16 TiB",
        ),
        (
            "[[release]]\nsize = \"1MiB\"\nblocks = 5000\n",
            "`release.blocks`: 1 to 4096",
        ),
        (
            "[[nodes]]\ncount = 1\nrole = \"site\"\nup = \"9000gbit\"\ndown = \"1mbit\"\n",
            "`nodes.up`: 20kbit to 1000gbit",
        ),
        (
            "[[nodes]]\ncount = 1\nrole = \"site\"\nup = \"1mbit\"\ndown = \"9000gbit\"\n",
            "`nodes.down`: 20kbit to 1000gbit",
        ),
        ("limit_up = \"0mbit\"\n", "`nodes.limit_up`: at least 20kbit"),
        ("limit_down = \"1bit\"\n", "`nodes.limit_down`: at least 20kbit"),
        (many.as_str(), "`release`: 1 to 256"),
    ] {
        let error = Scenario::parse("x", &format!("name = \"x\"\n{NODES}{SITES}{rest}")).expect_err(rest);
        assert!(error.to_string().starts_with(said), "{said}: {error}");
    }
    for (head, said) in [
        ("neighbours = 1000000\n", "`neighbours`: 1 to 100000"),
        ("origin_copies_max = 0\n", "`origin_copies_max`: 0 copies reach nobody"),
    ] {
        let error = Scenario::parse("x", &format!("name = \"x\"\n{head}{NODES}{SITES}")).expect_err(head);
        assert!(error.to_string().starts_with(said), "{error}");
    }
}

#[test]
fn what_takes_longer_than_anybody_waits_is_refused_and_the_largest_that_may_be_is_not() {
    let plan = |size: &str, rate: &str, more: &str| {
        let nodes = format!("{NODES}{SITES}{more}");
        let nodes = nodes.replace("50mbit", rate).replace("100mbit", rate);
        Scenario::parse("x", &format!("name = \"x\"\n[[release]]\nsize = \"{size}\"\n{nodes}"))
    };
    let refused = |size, rate, more| plan(size, rate, more).expect_err(size).to_string();
    assert!(refused("1TiB", "1kbit", "").starts_with("`nodes.up`: 20kbit to 1000gbit"));
    assert!(refused("16TiB", "1gbit", "").contains("2 nodes with 268435456 groups of 64 KiB each are too much"));
    let many = SITES.replace("count = 2", "count = 90000");
    assert!(refused("1GiB", "1gbit", &many).contains("90002 nodes with 16384 groups"));
    // By itself each is within its bounds: only together they take for ever.
    let narrow = plan("1TiB", "20kbit", "").expect("good by itself");
    let error = crate::world::World::new(&narrow).expect_err("for fourteen years");
    assert!(error.to_string().contains("the least time is"), "{error}");
    let large = plan("2TiB", "1gbit", "").expect("within all bounds");
    crate::world::World::new(&large).expect("a day");
    let mute = SITES.replace("up = \"50mbit\"", "up = \"0bit\"");
    plan("1MiB", "1mbit", &mute).expect("who never serves");
    let slow = SITES.replace("down = \"100mbit\"", "down = \"0bit\"");
    assert!(refused("1MiB", "1mbit", &slow).starts_with("`nodes.down`"));
}

/// The narrowest link that may be still brings a group before a node asks elsewhere.
#[test]
fn over_the_narrowest_link_a_release_arrives() {
    let nodes = format!("{NODES}{}", SITES.replace("count = 2", "count = 1"));
    let nodes = nodes.replace("50mbit", "20kbit").replace("100mbit", "20kbit");
    let text = format!("name = \"x\"\n[[release]]\nsize = \"256KiB\"\n{nodes}");
    crate::run(&Scenario::parse("x", &text).expect("a scenario")).expect("all arrives");
}

#[test]
fn a_plan_in_which_nobody_is_to_get_anything_is_refused() {
    for rest in [
        String::new(),
        SITES.replace("count = 2", "count = 0"),
        format!("{SITES}holds = 1\n"),
        format!("{SITES}behaviour = \"stall\"\n"),
        format!("{SITES}leaves_s = 3\n"),
    ] {
        let error = Scenario::parse("x", &format!("name = \"x\"\n{NODES}{rest}")).expect_err(&rest);
        assert!(
            error
                .to_string()
                .starts_with("`nodes`: nobody is to get anything: one group needs count above 0"),
            "{error}"
        );
    }
    let mut plan = Scenario::load("flash-release").expect("built in");
    plan.set_sites(0);
    assert!(
        plan.check()
            .expect_err("no sites")
            .to_string()
            .contains("nobody is to get anything")
    );
}

#[test]
fn what_makes_no_sense_is_refused_and_the_field_named() {
    for (rest, field) in [
        ("broken_replies = 2.0\n", "broken_replies"),
        ("neighbours = 0\n", "neighbours"),
        ("latency_ms = -1.0\n", "latency_ms"),
        ("nieghbours = 3\n", "nieghbours"),
    ] {
        let error = Scenario::parse("x", &format!("name = \"x\"\n{rest}{NODES}")).expect_err(rest);
        assert!(error.to_string().contains(field), "{error}");
    }
    for (rest, field) in [
        ("holds = 2\n", "nodes.holds"),
        ("loss = \"0.1 | 0.9\"\n", "nodes.loss"),
        ("site_only = true\n", "nodes.site_only"),
        ("tenants = 0\n", "nodes.tenants"),
        ("uplink = \"5mbit\"\n", "uplink"),
        ("latency_ms = \"fast\"\n", "2..40"),
        ("[[fault]]\nkind = \"kill\"\nat_s = 1.0\n", "fault.for_s"),
        (
            "[[fault]]\nkind = \"outage\"\nat_s = 1.0\nfor_s = 2.0\ntimes = 3\nevery_s = 1.0\n",
            "fault.every_s",
        ),
        (
            "[[fault]]\nkind = \"slow\"\nat_s = 1.0\nfor_s = 2.0\nfactor = 0.0\n",
            "fault.factor",
        ),
        ("[[fault]]\nkind = \"melt\"\nat_s = 1.0\n", "melt"),
        (
            "[[fault]]\nkind = \"kill\"\nat_s = 1.0\nfor_s = 1.0\non = \"x\"\n",
            "fault.on",
        ),
        (
            "name = \"x\"\n[[fault]]\nkind = \"kill\"\nat_s = 1.0\nfor_s = 1.0\nwith = \"x\"\n",
            "fault.with",
        ),
        ("[[release]]\nsize = \"0MiB\"\n", "release.size"),
        ("[[release]]\nsize = \"64\"\n", "size"),
    ] {
        let error = Scenario::parse("x", &format!("name = \"x\"\n{NODES}{rest}")).expect_err(rest);
        assert!(error.to_string().contains(field), "{error}");
    }
    let nobody = NODES.replace("origin", "site");
    let error = Scenario::parse("x", &format!("name = \"x\"\n{nobody}")).expect_err("no source");
    assert!(error.to_string().contains("nobody has anything"), "{error}");
}

/// What is said of a plan of an origin, two sites, a group of nobody and the rest.
fn refusal(head: &str, rest: &str) -> String {
    let sites = NODES.replace(
        "count = 1\nrole = \"origin\"",
        "name = \"sites\"\ncount = 2\nrole = \"site\"",
    );
    let nobody = sites.replace("sites", "nobody").replace("count = 2", "count = 0");
    let vendor = NODES.replace("count", "name = \"vendor\"\ncount");
    let text = format!("name = \"x\"\n{head}{vendor}{nobody}{sites}{rest}");
    let refused = Scenario::parse("x", &text).err();
    refused.map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn a_time_that_no_run_comes_to_is_refused_with_its_value_and_the_way_out() {
    for value in ["-5.0", "nan", "inf", "1e300", "1000001.0"] {
        let fault = |field: &str| {
            let times = "at_s = 1.0\nuntil_s = 2.0\nfor_s = 1.0\ntimes = 2\nevery_s = 9.0\n";
            let (at, after) = times.split_once(&format!("{field} = ")).expect("a field");
            let after = after.split_once('\n').expect("its end").1;
            format!("[[fault]]\nkind = \"outage\"\n{at}{field} = {value}\n{after}")
        };
        let release = format!("[[release]]\nsize = \"1MiB\"\nat_s = {value}\n");
        let factor = format!("deadline_factor = {value}\n");
        assert_eq!(
            refusal("deadline_factor = 3.0\n", &fault("at_s").replace(value, "1.0")),
            ""
        );
        for (field, head, rest) in [
            ("release.at_s", "", release),
            ("deadline_factor", &factor, String::new()),
            ("fault.at_s", "", fault("at_s")),
            ("fault.until_s", "", fault("until_s")),
            ("fault.for_s", "", fault("for_s")),
            ("fault.every_s", "", fault("every_s")),
        ] {
            let said = refusal(head, &rest);
            let number: f64 = value.parse().expect("a number");
            for part in [format!("`{field}`: {number:?}"), "from 0 to 1000000".to_owned()] {
                assert!(said.contains(&part), "{field} = {value}: {said}");
            }
        }
    }
    for (head, rest, said) in [
        (
            "latency_ms = 1e300\n",
            "",
            "`latency_ms`: 1e300 is out of range; write a number from 0 to 1000000000",
        ),
        ("region_latency_ms = nan\n", "", "`region_latency_ms`: NaN is"),
        ("", "latency_ms = 1e300\n", "`nodes.latency_ms`: 1e300 is"),
        (
            "",
            "joins_s = 1e300\n",
            "`nodes.joins_s`: 1e300 is out of range; write a number from 0 to 1000000",
        ),
        ("", "joins_s = \"1 | 2000000\"\n", "`nodes.joins_s`: 2000000.0 is"),
        ("", "leaves_s = \"1..2000000\"\n", "`nodes.leaves_s`: 2000000.0 is"),
    ] {
        let refused = refusal(head, rest);
        assert!(refused.contains(said), "{said}: {refused}");
    }
}

#[test]
fn a_fault_that_comes_to_nobody_is_refused_and_so_is_a_name_for_two() {
    for (fault, said) in [
        (
            "at_s = 1.0\nfor_s = 1.0\ncount = 0\n",
            "`fault.count`: 0 comes to nobody; write at least 1",
        ),
        (
            "at_s = 1.0\nfor_s = 1.0\non = \"nobody\"\n",
            "`fault.on`: \"nobody\" has count = 0",
        ),
        (
            "at_s = 1.0\nfor_s = 1.0\non = \"vendor\"\n",
            "`fault.on`: \"vendor\" has no honest site or host",
        ),
        (
            "at_s = 1.0\nfor_s = 1.0\nuntil_s = 0.5\n",
            "`fault.until_s`: 0.5 is before at_s = 1.0",
        ),
        (
            "at_s = 1.0\nfor_s = 1.0\nuntil_s = 0\n",
            "`fault.until_s`: 0.0 is before at_s = 1.0",
        ),
        ("at_s = 1.0\nfor_s = 1e-9\n", "`fault.for_s`: 1e-9 is too short"),
        (
            "at_s = 1.0\nfor_s = 1.0\ntimes = 600000\nevery_s = 2.0\n",
            "`fault.times`: the last one ends at 1200000.0 s",
        ),
    ] {
        let refused = refusal("", &format!("[[fault]]\nkind = \"kill\"\n{fault}"));
        assert!(refused.contains(said), "{said}: {refused}");
    }
    for (rest, said) in [
        (
            "[[fault]]\nkind = \"origin-dies\"\nat_s = 1.0\non = \"sites\"\n",
            "`fault.on`: origin-dies comes to all",
        ),
        (
            "[[fault]]\nkind = \"origin-dies\"\nat_s = 1.0\nfor_s = 1.0\n",
            "`fault.for_s`: origins that die",
        ),
        (
            "behaviour = \"stall\"\n[[fault]]\nkind = \"kill\"\nat_s = 1.0\nfor_s = 1.0\n",
            "`fault.kind`: there is no honest",
        ),
        (
            "behaviour = \"stall\"\n[[fault]]\nkind = \"kill\"\non = \"sites\"\nat_s = 1.0\nfor_s = 1.0\n",
            "`fault.on`: \"sites\" has no honest",
        ),
        (
            "[[nodes]]\nname = \"one\"\ncount = 1\nrole = \"site\"\nup = \"1mbit\"\ndown = \"1mbit\"\n\
             [[fault]]\nkind = \"half-open\"\non = \"one\"\nwith = \"one\"\nat_s = 1.0\nfor_s = 1.0\n",
            "`fault.with`: \"one\" is one node",
        ),
        (
            "[[nodes]]\nname = \"sites\"\ncount = 1\nrole = \"site\"\nup = \"1mbit\"\ndown = \"1mbit\"\n",
            "`nodes.name`: two groups are called \"sites\"",
        ),
    ] {
        let refused = refusal("", rest);
        assert!(refused.contains(said), "{said}: {refused}");
    }
    let faults = ["on = \"sites\"", "kind = \"slow\"\nuntil_s = 1.0", "count = 9"].map(|rest| {
        let kind = if rest.contains("kind") { "" } else { "kind = \"kill\"\n" };
        format!("[[fault]]\n{kind}at_s = 1.0\nfor_s = 1.0\n{rest}\n")
    });
    assert_eq!(refusal("", &faults.concat()), "");
}
