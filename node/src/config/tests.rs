use std::path::{Path, PathBuf};

use samara_protocol::swarm::io::UploadAudience;
use samara_protocol::units::ByteRate;

use super::settings::{LogFormat, LogLevel, Role};
use super::{ConfigError, Settings};

const FULL: &str = r#"
[node]
home = "data"
socket = "/run/samara/node.sock"
role = "site"
listen = ["0.0.0.0:7170", "quic://[::]:7171"]
external = ["node.example.com:7170"]
region = "eu-west"
proxy = "http://bob:s3cret@proxy.example.com:3128"

[limits]
up = "50mbit"
down = "12.5MB/s"
upload = "all"

[store]
dir = "/srv/samara"
quota = "2TB"
reserve = "1GiB"

[[product]]
name = "acme/app"
join = "acme.join"
follow = ["stable"]
platforms = ["linux/amd64", "linux/arm/v7"]
keep = 3
priority = 9

[metrics]
listen = "127.0.0.1:9170"

[log]
format = "json"
level = "debug"
"#;

fn parse(text: &str) -> Result<Settings, ConfigError> {
    Settings::parse(Path::new("/etc/samara/node.toml"), text, Path::new("/var/lib/samara"))
}

fn refusal(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn every_key_is_read_and_its_units_resolved() {
    let settings = parse(FULL).expect("a good file");
    assert_eq!(settings.node.home, PathBuf::from("/etc/samara/data"));
    assert_eq!(settings.node.socket, PathBuf::from("/run/samara/node.sock"));
    assert_eq!(settings.node.listen.len(), 2);
    assert_eq!(settings.limits.up, Some(ByteRate(6_250_000)));
    assert_eq!(settings.limits.down, Some(ByteRate(12_500_000)));
    assert_eq!(settings.limits.upload, UploadAudience::All);
    assert_eq!(settings.store.quota, Some(2_000_000_000_000));
    assert_eq!(settings.products[0].join, Some(PathBuf::from("/etc/samara/acme.join")));
    assert_eq!(settings.products[0].keep, 3);
    assert_eq!(
        (settings.log.format, settings.log.level),
        (LogFormat::Json, LogLevel::Debug)
    );
}

#[test]
fn an_empty_file_is_a_site_that_strangers_cannot_reach() {
    let settings = parse("").expect("all keys have defaults");
    assert_eq!(settings.node.role, Role::Site);
    assert!(settings.node.listen.iter().all(super::address::Address::is_loopback));
    assert_eq!(settings.node.home, PathBuf::from("/var/lib/samara"));
    assert_eq!(settings.node.socket, PathBuf::from("/var/lib/samara/node.sock"));
    assert_eq!(settings.store.dir, PathBuf::from("/var/lib/samara/store"));
    assert_eq!(settings.limits.upload, UploadAudience::Tenant);
    assert_eq!(settings.metrics, None);
}

#[test]
fn an_unknown_key_names_file_line_and_the_nearest_known_one() {
    assert_eq!(
        refusal("[node]\nrole = \"site\"\nlissten = []\n"),
        "/etc/samara/node.toml:3: `node.lissten`: unknown key `lissten`; did you mean `listen`?"
    );
    let far = refusal("[metrics]\nbanana = 1\n");
    assert_eq!(
        far,
        "/etc/samara/node.toml:2: `metrics.banana`: unknown key `banana`; known here: listen"
    );
    let table = refusal("[limit]\nup = \"1mbit\"\n");
    assert!(
        table.starts_with("/etc/samara/node.toml:1:") && table.ends_with("did you mean `limits`?"),
        "{table}"
    );
}

#[test]
fn a_rate_without_unit_names_line_key_and_an_example() {
    let error = refusal("[limits]\ndown = \"1gbit\"\nup = \"50\"\n");
    assert!(
        error.starts_with("/etc/samara/node.toml:3: `limits.up`: `50` has no known unit"),
        "{error}"
    );
    assert!(error.contains("50mbit"), "{error}");
    let number = refusal("[limits]\nup = 50\n");
    assert!(number.starts_with("/etc/samara/node.toml:2: `limits.up`: "), "{number}");
    for wrong in ["-1", "1e9", "50 parsecs", ""] {
        let error = refusal(&format!("[store]\nquota = \"{wrong}\"\n"));
        assert!(error.contains("`store.quota`") && error.contains("64MiB"), "{error}");
    }
}

#[test]
fn metrics_beyond_loopback_are_refused_with_the_way_out() {
    for address in ["0.0.0.0:9170", "10.0.0.1:9170", "[::]:9170"] {
        let error = refusal(&format!("[metrics]\nlisten = \"{address}\"\n"));
        assert!(
            error.contains("`metrics.listen`") && error.contains("127.0.0.1 or [::1]"),
            "{error}"
        );
    }
    assert!(parse("[metrics]\nlisten = \"[::1]:9170\"\n").is_ok());
}

#[test]
fn a_value_inside_a_list_names_its_own_line_and_the_lists_key() {
    let error = refusal("[node]\nlisten = [\n  \"0.0.0.0:7170\",\n  \"node.example.com:7170\",\n]\n");
    assert!(error.starts_with("/etc/samara/node.toml:4: `node.listen`: "), "{error}");
}

#[test]
fn contradictions_are_refused() {
    assert!(refusal("[node]\nrole = \"origin\"\n[limits]\nupload = \"off\"\n").contains("serves no customer"));
    assert!(refusal("[limits]\nup = \"0mbit\"\n").contains(":2: `limits.up`: a rate of 0 moves nothing; leave it out"));
    assert!(refusal("[limits]\ndown = \"1bit\"\n").contains("moves nothing"));
    assert!(refusal("[limits]\norigin-copies-max = 0\n").contains("1 or more"));
    assert!(refusal("[store]\nquota = \"0\"\n").contains("holds nothing"));
    assert!(refusal("[[product]]\nname = \"a/b\"\n[[product]]\nname = \"a/b\"\n").contains(":4: `product.name`"));
    assert!(refusal("[[product]]\nname = \"a/b\"\nsigner = \"keys\"\n").contains("role = \"origin\""));
    assert!(refusal("[[product]]\nname = \"a/b\"\nkeep = 0\n").contains("1 or more"));
}

#[test]
fn names_and_choices_are_checked() {
    assert!(refusal("[node]\nrole = \"server\"\n").contains("\"origin\" or \"site\""));
    assert!(refusal("[log]\nlevel = \"loud\"\n").contains("\"info\""));
    assert!(refusal("[[product]]\nfollow = []\n").contains("name"));
    for wrong in ["app", "a/b/c", "A/b", "../b", "a/"] {
        assert!(
            refusal(&format!("[[product]]\nname = \"{wrong}\"\n")).contains("acme/app"),
            "{wrong}"
        );
    }
    assert!(refusal("[[product]]\nname = \"a/b\"\nplatforms = [\"linux\"]\n").contains("linux/amd64"));
    // What `node run` takes for a channel or a platform, and nothing else.
    let underscored = refusal("[[product]]\nname = \"a/b\"\nfollow = [\n\"stable\",\n\"my_channel\"]\n");
    assert!(
        underscored.contains(":5: `product.follow`: `my_channel` is not a channel's name"),
        "{underscored}"
    );
    assert!(
        refusal(&format!(
            "[[product]]\nname = \"a/b\"\nfollow = [\"{}\"]\n",
            "x".repeat(33)
        ))
        .contains("1 to 32")
    );
    assert!(refusal("[[product]]\nname = \"a/b\"\nid = \"12\"\n").contains("`product.id`"));
    assert!(refusal("[node]\nhome = \"\"\n").contains("an empty path"));
}

#[test]
fn broken_toml_names_the_line() {
    for (text, line) in [
        ("[node\n", 1),
        ("[node]\nrole = \n", 2),
        ("[node]\nrole = \"a\"\nrole = \"b\"\n", 3),
    ] {
        let error = refusal(text);
        assert!(error.starts_with(&format!("/etc/samara/node.toml:{line}: ")), "{error}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
}

#[test]
fn what_is_no_file_is_refused_without_reading_forever() {
    let home = Path::new("/var/lib/samara");
    let missing = Settings::load(Path::new("/nonexistent/node.toml"), home).expect_err("is not there");
    assert!(missing.to_string().starts_with("/nonexistent/node.toml: "), "{missing}");
    let directory = Settings::load(Path::new("/"), home).expect_err("a directory");
    assert!(matches!(directory, ConfigError::Read { .. }), "{directory}");
    let endless = Settings::load(Path::new("/dev/zero"), home).expect_err("endless");
    assert!(endless.to_string().contains("larger than"), "{endless}");
}

#[test]
fn json_has_numbers_in_base_units_and_no_password() {
    let settings = parse(FULL).expect("a good file");
    let json = serde_json::to_value(&settings).expect("serialises");
    assert_eq!(
        json["limits"],
        serde_json::json!({"up": 6_250_000, "down": 12_500_000, "upload": "all", "origin_copies_max": null})
    );
    assert_eq!(json["node"]["proxy"], "http://***@proxy.example.com:3128");
    assert_eq!(json["node"]["listen"][1], "quic://[::]:7171");
    assert!(!json.to_string().contains("s3cret"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*|[\\[\\]a-z=\" \n.0-9#',]{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_mutation_of_a_good_file_panics(position in 0..FULL.len(), byte in 0u8..128) {
        let mut bytes = FULL.as_bytes().to_vec();
        bytes[position] = byte;
        let _ = parse(&String::from_utf8(bytes).expect("ASCII"));
    }
}
