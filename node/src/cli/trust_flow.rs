//! From `vendor init` to a host's credentials, by the verbs alone: the tests of all of them together.

use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches};
use samara_protocol::id::ManifestId;
use samara_protocol::trust::credentials::Refusal;
use samara_protocol::trust::enrolment::MemberKind;
use samara_protocol::trust::role::Role;
use samara_protocol::trust::writer::changes;

use super::printer::Format;
use super::printer::memory::Memory;
use super::vendor::hand_over;
use super::{Cli, CliError, Context, ExitStatus, dispatch, table};
use crate::access::Machine;
use crate::access::machine::JoinedProduct;
use crate::access::vendor::Vendor;

mod second_grants;
mod who_takes_part;

/// A folder with the homes of everybody in the story.
struct Story {
    dir: tempfile::TempDir,
}

impl Story {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `samara WORDS` with the home `home`; a word that starts with `@` is a file of the story.
    fn run(&self, home: &str, words: &str) -> Result<String, CliError> {
        let words = words.split(' ').map(|word| match word.strip_prefix('@') {
            Some(file) => self.path(file).display().to_string(),
            None => word.to_owned(),
        });
        let arguments = std::iter::once("samara".to_owned()).chain(words);
        let matches = table::with_environment(Cli::command())
            .try_get_matches_from(arguments)
            .map_err(|error| CliError::usage("command line", error))?;
        let cli = Cli::from_arg_matches(&matches).map_err(|error| CliError::usage("command line", error))?;
        let (mut printer, memory) = Memory::printer(Format::Human);
        let status = dispatch(&cli.command, &Context::at(self.path(home)), &mut printer)?;
        assert_eq!(status, ExitStatus::Success);
        Ok(memory.out() + &memory.err())
    }

    fn good(&self, home: &str, words: &str) -> String {
        self.run(home, words)
            .unwrap_or_else(|error| panic!("samara {words}: {error}"))
    }

    fn bad(&self, home: &str, words: &str) -> CliError {
        self.run(home, words).expect_err(words)
    }

    fn machine(&self, home: &str) -> Machine {
        Machine::at(&self.path(home))
    }

    fn product(&self, home: &str) -> JoinedProduct {
        self.machine(home).product_named("acme/app").expect("joined")
    }

    /// What `judge`'s machine says of `shown`'s credentials.
    fn admits(&self, judge: &str, shown: &str) -> Result<MemberKind, Refusal> {
        let (judge, other) = (self.product(judge), self.product(shown));
        let node = self.machine(shown).identity().expect("a key").node_id();
        let lists = judge.home.site_revocations().expect("read");
        let now = Context::at(self.path("x")).now();
        let credentials = other.membership.credentials();
        let verdict = judge
            .trust
            .admit(&credentials, node, lists.iter().map(|(list, _)| list), now);
        verdict.map(|covered| covered.kind)
    }

    /// A vendor with a product and an origin.
    fn vendor(&self) {
        self.good("vendor", "vendor init");
        self.good("vendor", "vendor product acme/app");
        self.good(
            "origin",
            "request origin --address origin.example.com:7170 -o @origin.request",
        );
        self.good("vendor", "grant @origin.request --product acme/app -o @origin.join");
        self.good("origin", "join @origin.join");
    }

    /// A site with a node that may enrol and a host that the node enrolled.
    fn site(&self) {
        self.good("site", "site init -o @site.request");
        self.good(
            "vendor",
            "grant @site.request --product acme/app --tenant bank --site berlin -o @site.join",
        );
        self.good("site", "join @site.join");
        self.good("node", "request node --address 10.0.0.1:7170 -o @node.request");
        self.good(
            "site",
            "site enrol @node.request --enrol-right --name one -o @node.join",
        );
        self.good("node", "join @node.join");
        self.good("host", "request host -o @host.request");
        self.good("node", "site enrol @host.request -o @host.join");
        self.good("host", "join @host.join");
    }

    /// Publishes a release's head, as `publish` does once the contents are in the store.
    fn publish(&self, version: &str) -> ManifestId {
        let context = Context::at(self.path("vendor"));
        let vendor = Vendor::at(&self.path("vendor").join("vendor"));
        let mut product = hand_over::open(&context, &vendor, "acme/app").expect("a product");
        let version = version.parse().expect("a version");
        let head = format!("head of {version}").into_bytes();
        let change = vendor
            .change(Role::Releases, context.now(), |hand| {
                changes::add_release(&product.trust, &version, &head, hand)
            })
            .expect("a change");
        let (mut printer, _) = Memory::printer(Format::Human);
        hand_over::commit(&context, &vendor, &mut product, vec![change], &mut printer).expect("committed");
        product.trust.documents().releases[&version].manifest
    }
}

#[test]
fn from_vendor_init_to_a_host_that_its_node_enrolled() {
    let story = Story::new();
    story.vendor();
    story.site();
    for judge in ["origin", "node", "host"] {
        assert_eq!(story.admits(judge, "origin").expect("covered"), MemberKind::Origin);
        assert_eq!(story.admits(judge, "node").expect("covered"), MemberKind::Node);
        assert_eq!(story.admits(judge, "host").expect("covered"), MemberKind::Host);
    }
    let contacts = story.product("host").home.contacts().expect("read");
    assert_eq!(contacts.len(), 1, "the origin's: {contacts:?}");
    let listing = story.good("site", "site list");
    assert!(listing.contains("one") && listing.contains("may enrol"), "{listing}");
    assert_eq!(story.product("host").membership.name, "acme/app");
}

#[test]
fn a_host_learns_the_contacts_of_its_site_and_of_the_origin() {
    let story = Story::new();
    story.vendor();
    story.site();
    story.good("host2", "request host -o @host2.request");
    story.good("site", "site enrol @host2.request -o @host2.join");
    let told = story.good("host2", "join @host2.join");
    assert_eq!(story.product("host2").home.contacts().expect("read").len(), 2);
    assert!(told.contains("samara fetch acme/app:stable"), "{told}");
}

#[test]
fn a_key_is_made_once_and_a_product_too() {
    let story = Story::new();
    story.vendor();
    let error = story.bad("vendor", "vendor init");
    assert_eq!(error.status(), ExitStatus::Conflict);
    let error = story.bad("vendor", "vendor product acme/app");
    assert_eq!(error.status(), ExitStatus::Conflict);
    assert!(story.good("vendor", "vendor product acme/db").starts_with("acme/db"));
}

#[test]
fn a_grant_for_one_product_does_not_open_another() {
    let story = Story::new();
    story.vendor();
    story.site();
    let made = story.good("vendor", "vendor product acme/db");
    let vendor = Vendor::at(&story.path("vendor").join("vendor"));
    let other = vendor.product("acme/db").expect("a product");
    let credentials = story.product("node").membership.credentials();
    let node = story.machine("node").identity().expect("a key").node_id();
    let now = Context::at(story.path("x")).now();
    let verdict = other.trust.admit(&credentials, node, [], now);
    assert!(
        matches!(verdict, Err(Refusal::OtherProduct { .. })),
        "{made}: {verdict:?}"
    );
}

#[test]
fn promotion_and_recall_go_through_the_verbs_to_the_origin_beside() {
    let story = Story::new();
    story.vendor();
    // The origin lives in the vendor's own home this time.
    story.good("vendor", "request origin --address 127.0.0.1:1 -o @second.request");
    story.good("vendor", "grant @second.request --product acme/app -o @second.join");
    story.good("vendor", "join @second.join");
    let error = story.bad("vendor", "promote acme/app@1.0.0");
    assert!(error.to_string().contains("publish it first"), "{error}");
    let manifest = story.publish("1.0.0");
    let said = story.good("vendor", "promote acme/app@1.0.0 --channel stable");
    assert!(said.contains("acme/app:stable is now 1.0.0"), "{said}");
    let stable = ["stable".parse().expect("a channel")];
    let origin = story.product("vendor");
    assert!(origin.trust.documents().offered(manifest, &stable));
    let again = story.good("vendor", "promote acme/app@1.0.0");
    assert!(again.contains("acme/app:stable is already 1.0.0"), "{again}");
    assert_eq!(
        story.product("vendor").trust.summary(),
        origin.trust.summary(),
        "nothing was signed"
    );
    story.good("vendor", "recall acme/app@1.0.0 --reason broken");
    let again = story.good("vendor", "recall acme/app@1.0.0 --reason broken");
    assert!(again.contains("was recalled before: broken"), "{again}");
    let other = story.bad("vendor", "recall acme/app@1.0.0 --reason slow");
    assert_eq!(other.status(), ExitStatus::Conflict);
    assert!(other.to_string().contains("\"broken\""), "{other}");
    let origin = story.product("vendor");
    assert!(!origin.trust.documents().offered(manifest, &stable));
    assert_eq!(
        story.bad("vendor", "promote acme/app@1.0.0").status(),
        ExitStatus::Conflict
    );
}

#[test]
fn what_a_running_origin_sealed_is_taken_before_a_verb_signs() {
    let story = Story::new();
    story.vendor();
    story.good("vendor", "request origin --address 127.0.0.1:1 -o @second.request");
    story.good("vendor", "grant @second.request --product acme/app -o @second.join");
    story.good("vendor", "join @second.join");
    // The origin refreshes its timestamp while no verb looks.
    let vendor = Vendor::at(&story.path("vendor").join("vendor"));
    let origin = story.product("vendor");
    let now = Context::at(story.path("x")).now();
    let refreshed = vendor
        .sealing_keys()
        .expect("keys")
        .seal(&origin.trust, Vec::new(), now)
        .expect("sealed");
    origin.home.update(refreshed.files(), now).expect("stored");
    story.publish("1.0.0");
    let origin = story.product("vendor");
    assert!(origin.trust.summary().version(Role::Timestamp) > refreshed.summary().version(Role::Timestamp));
    assert_eq!(origin.trust.documents().releases.len(), 1);
}

#[test]
fn a_revoked_node_is_out_with_those_it_enrolled_and_stays_out() {
    let story = Story::new();
    story.vendor();
    story.site();
    story.good("two", "request node -o @two.request");
    story.good("site", "site enrol @two.request --name two -o @two.join");
    story.good("two", "join @two.join");
    assert!(story.admits("two", "node").is_ok());
    story.good("site", "site revoke one -o @site.revocations");
    story.good("two", "join @site.revocations");
    assert!(matches!(story.admits("two", "node"), Err(Refusal::Revoked { .. })));
    assert!(matches!(story.admits("two", "host"), Err(Refusal::Revoked { .. })));
    assert!(story.admits("two", "two").is_ok());
    let error = story.bad("site", "site enrol @node.request -o @again.join");
    assert_eq!(error.status(), ExitStatus::Denied, "{error}");
    assert_eq!(
        story.bad("site", "site revoke nobody -o @x").status(),
        ExitStatus::Absent
    );
}

#[test]
fn bad_input_names_the_culprit_and_the_way_out_and_changes_nothing() {
    let story = Story::new();
    story.vendor();
    story.site();
    let cases = [
        (
            "vendor",
            "grant @missing --product acme/app --tenant a --site b -o @x",
            ExitStatus::Absent,
            "missing",
        ),
        (
            "vendor",
            "grant @site.request --product acme/nope --tenant a --site b -o @x",
            ExitStatus::Absent,
            "acme/nope",
        ),
        (
            "vendor",
            "grant @site.request --product acme/app --site b -o @x",
            ExitStatus::Usage,
            "--tenant",
        ),
        (
            "vendor",
            "grant @node.request --product acme/app --tenant a --site b -o @x",
            ExitStatus::Usage,
            "site enrol",
        ),
        (
            "vendor",
            "grant @site.join --product acme/app --tenant a --site b -o @x",
            ExitStatus::Usage,
            "request",
        ),
        (
            "stranger",
            "grant @site.request --product acme/app --tenant a --site b -o @x",
            ExitStatus::Absent,
            "vendor product",
        ),
        ("site", "site enrol @site.request -o @x", ExitStatus::Usage, "vendor"),
        (
            "site",
            "site enrol @host.request --enrol-right -o @x",
            ExitStatus::Usage,
            "--enrol-right",
        ),
        ("host", "site enrol @host.request -o @x", ExitStatus::Denied, "site key"),
        ("node", "site enrol @node.request -o @x", ExitStatus::Denied, "hosts"),
        ("stranger", "join @node.join", ExitStatus::Absent, "`samara request`"),
        (
            "host",
            "join @node.join",
            ExitStatus::Denied,
            "request file of this machine",
        ),
        ("stranger", "join @site.join", ExitStatus::Absent, "site init"),
        ("node", "join @node.request", ExitStatus::Usage, "node.request"),
        (
            "host",
            "request host --address a:1 -o @x",
            ExitStatus::Usage,
            "--address",
        ),
    ];
    for (home, words, status, word) in cases {
        let error = story.bad(home, words);
        assert_eq!(error.status(), status, "samara {words}: {error}");
        assert!(error.to_string().contains(word), "samara {words}: {error}");
        assert!(!story.path("x").exists(), "samara {words}");
    }
    assert!(story.admits("origin", "host").is_ok());
}

#[test]
fn a_site_under_another_key_is_not_granted_by_its_name() {
    let story = Story::new();
    story.vendor();
    story.site();
    story.good("other", "site init -o @other.request");
    let words = "grant @other.request --product acme/app --tenant bank --site berlin -o @x";
    assert_eq!(story.bad("vendor", words).status(), ExitStatus::Conflict);
}

#[test]
fn no_byte_of_a_join_file_can_be_changed_into_another_grant() {
    let story = Story::new();
    story.vendor();
    story.site();
    let good = std::fs::read(story.path("host.join")).expect("read");
    let before = story.product("host").membership;
    let changed = story.path("changed.join");
    for place in (0..good.len()).step_by(97) {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        std::fs::write(&changed, &bytes).expect("written");
        // Names, and white space between the parts, prove nothing and are not signed; everything else is refused.
        if story.run("host", "join @changed.join").is_ok() {
            let after = story.product("host").membership;
            assert_eq!(
                (&after.grant, &after.enrolments),
                (&before.grant, &before.enrolments),
                "byte {place}"
            );
            assert_eq!(after.product, before.product);
        }
    }
    assert!(story.admits("origin", "host").is_ok());
}

#[test]
fn nothing_secret_or_named_travels() {
    let story = Story::new();
    story.vendor();
    story.site();
    let seed = |path: &Path| {
        let text = std::fs::read_to_string(path).expect("a key");
        text.split(' ').nth(1).expect("a seed").trim().to_owned()
    };
    let keys = [
        story.path("site/site/site.key"),
        story.path("node/identity.key"),
        story.path("host/identity.key"),
    ];
    for file in [
        "site.request",
        "site.join",
        "node.request",
        "node.join",
        "host.request",
        "host.join",
        "origin.join",
    ] {
        let text = std::fs::read_to_string(story.path(file)).expect("a file");
        for key in &keys {
            assert!(!text.contains(&seed(key)), "{file} holds {}", key.display());
        }
    }
    // What a node shows to others: no name of tenant, site or product.
    let shown = story.product("host").membership.credentials().encode().expect("fits");
    let text = String::from_utf8(shown).expect("ASCII");
    let decoded: String = text
        .split('"')
        .filter_map(|part| data_encoding::BASE64.decode(part.as_bytes()).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect();
    assert!(decoded.contains("site_key"), "the payloads were looked at");
    for name in ["bank", "berlin", "acme", "acme/app"] {
        assert!(
            !decoded.contains(&format!("\"{name}")) && !text.contains(name),
            "{name}"
        );
    }
}

#[test]
fn verbs_at_the_same_time_wait_for_each_other_and_nothing_is_lost() {
    let story = Story::new();
    story.vendor();
    story.site();
    story.publish("1.0.0");
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        story.good(name, &format!("site init -o @{name}.request"));
        story.good(
            &format!("host-{name}"),
            &format!("request host -o @host-{name}.request"),
        );
    }
    std::thread::scope(|scope| {
        for name in names {
            let story = &story;
            scope.spawn(move || {
                story.good("vendor", &format!("promote acme/app@1.0.0 --channel {name}"));
                story.good(
                    "vendor",
                    &format!("grant @{name}.request --product acme/app --tenant {name} --site {name} -o @{name}.join"),
                );
                story.good(
                    "site",
                    &format!("site enrol @host-{name}.request --name {name} -o @x-{name}.join"),
                );
            });
        }
    });
    let vendor = Vendor::at(&story.path("vendor").join("vendor"));
    let product = vendor.product("acme/app").expect("a product");
    for name in names {
        let channel = name.parse().expect("a channel");
        assert!(product.trust.documents().latest(&channel).is_some(), "{name}");
        // Only who stands in the register can be revoked by name.
        story.good(
            "vendor",
            &format!("revoke --product acme/app --tenant {name} --site {name}"),
        );
        story.good("site", &format!("site revoke {name} -o @revoked-{name}"));
    }
}
