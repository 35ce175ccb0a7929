//! A site that was granted something is granted again.

use samara_protocol::trust::credentials::Refusal;
use samara_protocol::trust::enrolment::MemberKind;

use super::Story;
use crate::cli::ExitStatus;

#[test]
fn what_a_second_grant_changes_is_said_and_its_file_is_not_written_over() {
    let story = Story::new();
    story.vendor();
    story.site();
    story.publish("1.0.0");
    story.good("vendor", "promote acme/app@1.0.0 --channel stable");
    let grant = |more: &str| format!("grant @site.request --product acme/app --tenant bank --site {more}");
    let more = story.good(
        "vendor",
        &grant("berlin --reseed all --channel stable --channel beta --until 2y -o @more.join"),
    );
    assert!(more.contains("--reseed was own, is now all"), "{more}");
    assert!(more.contains("--channel was stable, is now beta, stable"), "{more}");
    assert!(more.contains("channel beta does not exist yet"), "{more}");
    assert!(!more.contains("warning"), "the site may do more: {more}");

    let before = std::fs::read(story.path("more.join")).expect("read");
    let refused = story.bad("vendor", &grant("berlin -o @more.join"));
    assert_eq!(refused.status(), ExitStatus::Conflict, "{refused}");
    assert!(refused.to_string().contains("--replace"), "{refused}");
    assert_eq!(std::fs::read(story.path("more.join")).expect("read"), before);
    let less = story.good("vendor", &grant("berlin --until 2y -o @more.join --replace"));
    assert!(
        less.contains("warning: with this file bank/berlin has another grant"),
        "{less}"
    );
    assert!(
        less.contains("--reseed was all, is now own"),
        "what was refused is not in the register: {less}"
    );
    assert!(less.contains("--channel was beta, stable, is now stable"), "{less}");

    let twice = story.good("vendor", &grant("munich -o @munich.join"));
    assert!(twice.contains("registered as bank/berlin too"), "{twice}");
    story.good("other", "site init -o @other.request");
    let new = story.good(
        "vendor",
        "grant @other.request --product acme/app --tenant bank --site rome -o @rome.join",
    );
    assert!(!new.contains("than before") && !new.contains("too:"), "{new}");
}

/// It is good until it ends, whatever was granted since; the vendor is told how to end it, and that does.
#[test]
fn a_wider_grant_of_before_stays_good_until_what_was_said_ends_it() {
    let story = Story::new();
    story.vendor();
    story.site();
    let grant = |more: &str| format!("grant @site.request --product acme/app --tenant bank --site berlin {more}");
    story.good("vendor", &grant("--reseed all -o @wide.join"));
    let less = story.good("vendor", &grant("--reseed own --until 2y -o @narrow.join"));
    let said = less
        .lines()
        .find(|line| line.contains("`samara revoke"))
        .expect("a way to end it");
    let verbs: Vec<&str> = said
        .split('`')
        .filter(|part| part.starts_with("samara revoke"))
        .collect();
    assert_eq!(verbs.len(), 2, "one was made before these two: {said}");

    let join_wide = || {
        story.good("site", "join @wide.join");
        story.good("site", "site enrol @node.request --enrol-right -o @node.join");
        story.good("node", "join @node.join");
    };
    join_wide();
    assert!(story.admits("origin", "node").is_ok(), "nobody has revoked it");
    for verb in verbs {
        story.good("vendor", verb.strip_prefix("samara ").expect("the program"));
    }
    story.good("vendor", "grant @origin.request --product acme/app -o @origin2.join");
    story.good("origin", "join @origin2.join");
    assert!(matches!(story.admits("origin", "node"), Err(Refusal::Revoked { .. })));
    story.good("site", "join @narrow.join");
    story.good("site", "site enrol @node.request --enrol-right -o @node.join");
    story.good("node", "join @node.join");
    assert!(story.admits("origin", "node").is_ok());
}

#[test]
fn a_revoked_site_is_out_and_may_come_back_under_a_new_id() {
    let story = Story::new();
    story.vendor();
    story.site();
    let before = story.product("node").membership.grant;
    story.good("vendor", "revoke --product acme/app --tenant bank --site berlin");
    // The origin hears of it by a new join file here; a running one by its socket.
    story.good("vendor", "grant @origin.request --product acme/app -o @origin2.join");
    story.good("origin", "join @origin2.join");
    assert!(matches!(story.admits("origin", "node"), Err(Refusal::Revoked { .. })));
    assert!(matches!(story.admits("origin", "host"), Err(Refusal::Revoked { .. })));
    assert!(story.admits("origin", "origin").is_ok());
    let again = story.good("vendor", "revoke --product acme/app --tenant bank --site berlin");
    assert!(again.contains("revoked before"), "{again}");
    let back = "grant @site.request --product acme/app --tenant bank --site berlin -o";
    let let_in = story.good("vendor", &format!("{back} @site2.join"));
    assert!(
        let_in.contains("warning: bank/berlin or its key was revoked"),
        "{let_in}"
    );
    let since = story.good("vendor", &format!("{back} @site3.join"));
    assert!(!since.contains("revoked"), "it has been let in again: {since}");
    story.good("site", "join @site2.join");
    story.good("site", "site enrol @node.request --enrol-right -o @node.join");
    story.good("node", "join @node.join");
    assert_ne!(story.product("node").membership.grant, before);
    assert_eq!(story.admits("origin", "node").expect("covered"), MemberKind::Node);
}

#[test]
fn an_enrolment_takes_the_place_of_its_own_former_file_and_of_no_other() {
    let story = Story::new();
    story.vendor();
    story.site();
    let again = "site enrol @node.request --enrol-right -o @node.join";
    let before = std::fs::read(story.path("node.join")).expect("read");
    story.good("site", again);
    assert_ne!(
        std::fs::read(story.path("node.join")).expect("read"),
        before,
        "it is a new one"
    );

    let members = || story.good("site", "site list");
    let (list, host) = (members(), std::fs::read(story.path("host.join")).expect("read"));
    let to_hosts = "site enrol @node.request --until 30d -o @host.join";
    let refused = story.bad("site", to_hosts);
    assert_eq!(refused.status(), ExitStatus::Conflict, "{refused}");
    assert!(refused.to_string().contains("--replace"), "{refused}");
    assert_eq!(std::fs::read(story.path("host.join")).expect("read"), host);
    assert_eq!(members(), list, "what was refused is not in the register");
    story.good("site", &format!("{to_hosts} --replace"));
    assert_ne!(std::fs::read(story.path("host.join")).expect("read"), host);
}
