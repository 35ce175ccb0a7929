use proptest::prelude::*;

use super::*;

fn fault(text: &str) -> PathFault {
    ReleasePath::new(text).expect_err(text).fault
}

#[test]
fn ordinary_names_are_taken_as_they_are() {
    for text in [
        "a",
        "a/b/c.tar.gz",
        ".hidden",
        "with space/x",
        "stra\u{df}e",
        "\u{4e2d}\u{6587}",
        "...a",
        "console",
        "com",
        "com10",
        "lpt",
        "nulls",
        "a~1",
        ".samara2",
        "x/.samara",
        "e\u{301}\u{302}x".nfc().collect::<String>().as_str(),
    ] {
        assert_eq!(ReleasePath::new(text).expect(text).as_str(), text);
    }
}

#[test]
fn every_rule_refuses_what_it_is_for() {
    for text in ["", "/", "/a", "a/", "a//b"] {
        assert_eq!(fault(text), PathFault::Empty, "{text:?}");
    }
    for text in [".", "..", "../a", "a/../b", "./a", "a/."] {
        assert!(matches!(fault(text), PathFault::Dots(_)), "{text:?}");
    }
    for text in [
        "a\\b", "C:", "c:/x", "a\0b", "a\nb", "a\u{7f}", "a\u{85}", "a*", "a?", "\"a", "<", ">", "|", "a:stream",
    ] {
        assert!(matches!(fault(text), PathFault::Character(_)), "{text:?}");
    }
    for text in ["a.", "a ", "a./b", "x/a ", "...", " "] {
        assert!(matches!(fault(text), PathFault::Trailing(_)), "{text:?}");
    }
    for text in [
        "CON",
        "con",
        "nul.txt",
        "x/Aux",
        "prn.a.b",
        "COM1",
        "com9.log",
        "LPT1",
        "com\u{b2}",
        "CONIN$",
        "conout$",
        "nul .txt",
        "com0",
    ] {
        assert!(matches!(fault(text), PathFault::Device(_)), "{text:?}");
    }
    assert_eq!(fault("e\u{301}"), PathFault::NotNfc("\u{e9}".into()));
    assert_eq!(fault(&"a".repeat(256)), PathFault::Long(256));
    assert_eq!(fault(&["a"; 65].join("/")), PathFault::Deep(65));
    assert_eq!(fault(&"a/".repeat(2048).repeat(2)), PathFault::Long(8192));
    for text in [
        ".samara",
        ".samara/x",
        ".SAMARA/x",
        ".Samara",
        ".sam\u{200c}ara/x",
        "SAMARA~1",
        ".\u{17f}amara",
    ] {
        assert_eq!(fault(text), PathFault::Own, "{text:?}");
    }
    let refused = ReleasePath::from_bytes(&[b'a', 0xff]).expect_err("no UTF-8");
    assert_eq!(refused.fault, PathFault::NotUtf8);
}

#[test]
fn links_stay_inside() {
    let link = |at: &str, to: &str| LinkTarget::new(&ReleasePath::new(at).expect(at), to).map_err(|error| error.fault);
    for (at, to) in [
        ("a", "b"),
        ("a", "."),
        ("a/b", ".."),
        ("a/b/c", "../../x"),
        ("a/b/c", "../x/y"),
        ("x", "d/e"),
    ] {
        assert!(link(at, to).is_ok(), "{at} -> {to}");
    }
    for (at, to) in [
        ("a", ".."),
        ("a", "../x"),
        ("a/b", "../../x"),
        ("a", "/etc/passwd"),
        ("a", "/"),
        ("a/b", "../.."),
    ] {
        assert_eq!(link(at, to), Err(PathFault::Outside), "{at} -> {to}");
    }
    for (at, to) in [("a/b", "c/../d"), ("a/b", "../c/.."), ("a/b/c", "x/../../../../etc")] {
        assert_eq!(link(at, to), Err(PathFault::Climbs), "{at} -> {to}");
    }
    for (at, to) in [("a", ".samara/journal"), ("a/b", "../.Samara")] {
        assert_eq!(link(at, to), Err(PathFault::Own), "{at} -> {to}");
    }
    assert!(link("a/b", ".samara").is_ok());
    for (at, to) in [
        ("a", ""),
        ("a", "b/"),
        ("a", "./b"),
        ("a", "C:/x"),
        ("a", "\\\\host\\share"),
        ("a", "x/nul"),
    ] {
        assert!(link(at, to).is_err(), "{at} -> {to}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_taken_keeps_the_rules(text in prop_oneof![".*", "[a./\\\\: CONcon1~-]{0,12}", "(\\.\\.|a|/){0,6}"]) {
        let Ok(path) = ReleasePath::new(&text) else { return Ok(()) };
        prop_assert_eq!(path.as_str(), &text);
        let joined = std::path::Path::new("/root").join(path.as_str());
        prop_assert!(joined.components().all(|part| part != std::path::Component::ParentDir));
        prop_assert!(joined.starts_with("/root") && joined != std::path::Path::new("/root"));
        prop_assert_eq!(path.ancestors().count(), path.depth());
        prop_assert_eq!(path.parent().map(|parent| parent.to_string()), path.ancestors().last().map(str::to_owned));
    }

    #[test]
    fn a_link_that_is_taken_never_leads_out_even_through_other_links(
        links in prop::collection::vec(("[ab](/[ab]){0,3}", "(\\.\\./){0,3}[ab.](/[ab]|/\\.\\.){0,3}"), 1..6)
    ) {
        // A small file system: links that are taken and have no link above them; everything else is a folder.
        let mut placed: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
        for (at, to) in &links {
            let Ok(at) = ReleasePath::new(at) else { continue };
            let Ok(to) = LinkTarget::new(&at, to) else { continue };
            let below = |other: &String| other.starts_with(&format!("{at}/"));
            if placed.keys().any(below) || at.ancestors().any(|above| placed.contains_key(above)) {
                continue;
            }
            placed.insert(at.to_string(), to.as_str().to_owned());
        }
        for at in placed.keys() {
            let mut todo: Vec<String> = at.split('/').rev().map(str::to_owned).collect();
            let mut now: Vec<String> = Vec::new();
            let mut follows = 0;
            while let Some(part) = todo.pop() {
                match part.as_str() {
                    "." => {}
                    ".." => prop_assert!(now.pop().is_some(), "{at} leads out through {placed:?}"),
                    name => {
                        now.push(name.to_owned());
                        if let Some(to) = placed.get(&now.join("/")).filter(|_| follows < 40) {
                            follows += 1;
                            now.pop();
                            todo.extend(to.split('/').rev().map(str::to_owned));
                        }
                    }
                }
            }
        }
    }
}
