//! Which home takes part as what: a host's runs no node, a node's key is not a fetch's, and nobody has what was not granted.

use samara_protocol::trust::enrolment::MemberKind;

use super::Story;
use crate::cli::fetch::session;
use crate::cli::node::preflight;
use crate::cli::{Context, ExitStatus};
use crate::config::Settings;

impl Story {
    /// Writes a node's configuration, `NAME.toml`.
    fn configure(&self, name: &str, text: &str) {
        std::fs::write(self.path(&format!("{name}.toml")), text).expect("written");
    }
}

#[test]
fn a_hosts_home_runs_no_node() {
    let story = Story::new();
    story.vendor();
    story.site();
    story.configure("host", "[node]\nhome = \"host\"\nlisten = []\n");
    for words in ["node run --config @host.toml", "config check @host.toml"] {
        let error = story.bad("host", words);
        assert_eq!(error.status(), ExitStatus::Denied, "{error}");
        assert!(error.culprit().ends_with("host"), "{error}");
        assert!(error.to_string().contains("request node"), "{error}");
    }
    story.configure("node", "[node]\nhome = \"node\"\n");
    story.good("node", "config check @node.toml");
}

#[test]
fn what_node_run_refuses_config_check_refuses_in_the_same_words() {
    let story = Story::new();
    story.vendor();
    story.site();
    let product = "[[product]]\nname = \"acme/app\"\n";
    let other = "1".repeat(64);
    for (home, text, culprit) in [
        ("node", "[[product]]\nname = \"acme/none\"\n".to_owned(), "acme/none"),
        ("empty", product.to_owned(), "acme/app"),
        ("node", format!("{product}id = \"{other}\"\n"), "acme/app"),
        ("node", format!("{product}join = \"host.join\"\n"), "host.join"),
        ("node", format!("{product}join = \"none.join\"\n"), "none.join"),
        ("node", format!("role = \"origin\"\n{product}"), "node.role"),
        ("origin", product.to_owned(), "node.role"),
    ] {
        story.configure("wrong", &format!("[node]\nhome = \"{home}\"\nlisten = []\n{text}"));
        let checked = story.bad(home, "config check @wrong.toml");
        assert!(checked.culprit().ends_with(culprit), "{text}: {checked}");
        assert!(checked.hint().is_some(), "{text}: {checked}");
        assert_eq!(story.bad(home, "node run --config @wrong.toml"), checked);
        let (settings, now) = (story.path("wrong.toml"), Context::at(story.path("x")).now());
        let settings = Settings::load(&settings, &story.path(home)).expect("good by itself");
        assert_eq!(preflight::look(&settings, now).expect_err(&text), checked);
    }
    assert!(!story.path("empty").exists(), "and looking makes nothing");
}

#[test]
fn a_join_file_that_the_configuration_names_counts_as_joined_and_is_not_taken_in_by_a_check() {
    let story = Story::new();
    story.vendor();
    story.site();
    story.good("two", "request node -o @two.request");
    story.good("site", "site enrol @two.request -o @two.join");
    let text = "[node]\nhome = \"two\"\n[[product]]\nname = \"acme/app\"\njoin = \"two.join\"\nfollow = [\"beta\"]\n";
    story.configure("two", text);
    let said = story.good("two", "config check @two.toml");
    assert!(
        said.contains("product   acme/app: follows beta, keeps 2, all platforms\n"),
        "{said}"
    );
    assert!(said.contains("warning: acme/app: `follow` names beta"), "{said}");
    assert!(story.machine("two").products().expect("read").is_empty());
}

#[test]
fn a_channel_that_was_not_granted_is_warned_of_and_not_fetched() {
    let story = Story::new();
    story.vendor();
    story.site();
    let follow = |channel: &str| {
        format!("[node]\nhome = \"node\"\n[[product]]\nname = \"acme/app\"\nfollow = [\"{channel}\"]\n")
    };
    story.configure("beta", &follow("beta"));
    let said = story.good("node", "config check @beta.toml");
    assert!(said.contains("warning: acme/app: `follow` names beta"), "{said}");
    story.configure("stable", &follow("stable"));
    let said = story.good("node", "config check @stable.toml");
    assert!(!said.contains("warning"), "{said}");

    for wait in ["", " --wait"] {
        let error = story.bad("host", &format!("fetch acme/app:beta -o @out{wait}"));
        assert_eq!((error.status(), error.culprit()), (ExitStatus::Absent, "acme/app"));
        assert!(
            error.what().contains("beta is not granted") && error.what().contains("has stable"),
            "{error}"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("the vendor")), "{error}");
        assert!(!story.path("out").exists());
    }
}

#[test]
fn a_fetch_has_a_key_of_its_own_that_a_host_or_a_node_with_the_right_enrols() {
    let story = Story::new();
    story.vendor();
    story.site();
    for home in ["host", "node"] {
        let (machine, product) = (story.machine(home), story.product(home));
        let context = Context::at(story.path(home));
        let (key, envelope) = session::key(&machine, &product, &context).expect("a key");
        assert_ne!(key.node_id(), machine.identity().expect("a key").node_id(), "{home}");
        let mut credentials = product.membership.credentials();
        credentials.enrolments.extend(envelope);
        let judge = story.product("origin");
        let covered = judge.trust.admit(&credentials, key.node_id(), [], context.now());
        let covered = covered.expect("covered");
        assert_eq!(covered.kind, MemberKind::Host, "{home}");
        let own = machine.identity().expect("a key").node_id();
        let lender = product.covered(own, context.now()).expect("judged").expect("covered");
        // Nothing is counted from this machine's clock, which may be years behind the judge's.
        assert_eq!(covered.not_after, lender.not_after, "{home}");
    }
}

#[test]
fn the_key_of_a_node_without_the_right_and_of_an_origin_fetches_nothing() {
    let story = Story::new();
    story.vendor();
    story.site();
    story.good("two", "request node -o @two.request");
    story.good("site", "site enrol @two.request -o @two.join");
    story.good("two", "join @two.join");
    for (home, whose) in [("two", "a node"), ("origin", "an origin")] {
        let error = story.bad(home, "fetch acme/app:stable -o @out");
        assert_eq!(error.status(), ExitStatus::Denied, "{error}");
        assert!(
            error.culprit().ends_with(home) && error.what().contains(whose),
            "{error}"
        );
        assert!(
            error.hint().is_some_and(|hint| hint.contains("request host")),
            "{error}"
        );
        assert!(!story.path("out").exists());
    }
}

#[test]
fn the_keys_at_signer_must_be_those_of_the_product() {
    let story = Story::new();
    story.vendor();
    story.good("other", "vendor init");
    let signer = |of: &str| {
        format!(
            "[node]\nrole = \"origin\"\nhome = \"origin\"\n[[product]]\nname = \"acme/app\"\nsigner = \"{of}/vendor/keys\"\n"
        )
    };
    story.configure("right", &signer("vendor"));
    let said = story.good("origin", "config check @right.toml");
    assert!(
        said.contains("signer    ") && said.contains("vendor/vendor/keys\n"),
        "{said}"
    );
    story.configure("wrong", &signer("other"));
    for words in ["config check @wrong.toml", "node run --config @wrong.toml"] {
        let error = story.bad("origin", words);
        assert_eq!(error.status(), ExitStatus::Usage, "{error}");
        assert!(error.culprit().ends_with("other/vendor/keys"), "{error}");
        assert!(error.what().contains("`signer`") && error.hint().is_some(), "{error}");
    }
}

#[test]
fn an_origin_is_offered_channels_that_came_after_its_grant_and_a_site_is_not() {
    let story = Story::new();
    story.vendor();
    story.site();
    let covered = |home: &str| {
        let own = story.machine(home).identity().expect("a key").node_id();
        let now = Context::at(story.path(home)).now();
        story.product(home).covered(own, now).expect("judged").expect("covered")
    };
    let (origin, site) = (covered("origin"), covered("node"));
    let manifest = story.publish("1.0.0");
    story.good("vendor", "promote acme/app@1.0.0 --channel beta");
    // The metadata comes with a join file here, to a running origin by its socket.
    story.good("vendor", "grant @origin.request --product acme/app -o @origin2.join");
    story.good("origin", "join @origin2.join");
    let trust = story.product("origin").trust;
    assert!(trust.documents().offered_to(manifest, &origin));
    assert!(!trust.documents().offered_to(manifest, &site));
}
