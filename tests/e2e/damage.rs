//! A store file that somebody garbles, truncates or deletes, while the node is down or while it runs: whoever waits for a
//! release gets the right bytes, the node stays up, and only what was damaged crosses the network again.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use samara_tests::network::{Network, PRODUCT, Plan, fetch};
use samara_tests::tree::{Tree, same};

const SOON: Duration = Duration::from_secs(60);
const GROUP: u64 = 64 << 10;
/// Bytes of the large file of a release.
const LARGE: u64 = 2 << 20;

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Garble,
    Truncate,
    Delete,
}

/// Which file, each in a release of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Data,
    Tree,
    Pack,
    List,
    LongList,
    Head,
    Index,
}

const HOWS: [How; 3] = [How::Garble, How::Truncate, How::Delete];
const WHICH: [Which; 7] = [
    Which::Data,
    Which::Tree,
    Which::Pack,
    Which::List,
    Which::LongList,
    Which::Head,
    Which::Index,
];

/// One release, and the file of it that is damaged.
struct Case {
    which: Which,
    version: String,
    source: PathBuf,
    file: PathBuf,
}

impl Case {
    fn publish(network: &Network, number: usize, which: Which) -> Result<Self> {
        let version = format!("1.0.{number}");
        let mut tree = Tree::new(network.folder(&version)?, 100 + number as u64)?;
        tree.file("large", LARGE)?.small_files(12, 4 << 10, 32 << 10)?;
        if which == Which::LongList {
            // Long enough for a list of entries that is a large artifact itself.
            for entry in 0..700 {
                tree.bytes(&format!("entries/{entry:05}-{}", "x".repeat(100)), b"the same")?;
            }
        }
        network.publish(tree.root(), &version)?;
        Ok(Self {
            which,
            version,
            source: tree.root().to_owned(),
            file: PathBuf::new(),
        })
    }

    /// Where its file lies, once it is there.
    fn locate(&mut self, network: &Network) -> Result<()> {
        let store = network.sites[0].node.store();
        let head = self.head(&store, network)?;
        let manifest = head
            .file_stem()
            .and_then(|stem| stem.to_str())
            .context("a head")?
            .to_owned();
        let large = samara_tests::tree::b3sum(&self.source.join("large"))?;
        let artifact = |extension: &str| store.join("artifacts").join(format!("{large}.{extension}"));
        self.file = match self.which {
            Which::Data => artifact("data"),
            Which::Tree => artifact("tree"),
            Which::Pack => store.join("packs").join(format!("{manifest}.payload")),
            Which::List => store.join("packs").join(format!("{manifest}.entries")),
            Which::LongList => list_of(&store)?,
            Which::Head => head,
            Which::Index => store.join("index.redb"),
        };
        ensure!(
            self.file.is_file(),
            "{:?}: {} is not there",
            self.which,
            self.file.display()
        );
        Ok(())
    }

    fn head(&self, store: &Path, network: &Network) -> Result<PathBuf> {
        let status = network.sites[0].node.status()?;
        let transfers = status["transfers"].as_array().context("transfers")?;
        let manifest = transfers.iter().find(|row| row["version"] == self.version.as_str());
        let manifest = manifest
            .and_then(|row| row["manifest"].as_str())
            .context("a manifest")?;
        Ok(store.join("releases").join(format!("{manifest}.head")))
    }

    /// Damages the file; bytes of payload that are damaged at the most, in whole groups.
    fn damage(&self, how: How) -> Result<u64> {
        let len = fs::metadata(&self.file)?.len();
        match how {
            How::Garble => {
                let file = fs::OpenOptions::new().write(true).open(&self.file)?;
                // Three places, in three groups where there are so many.
                for at in [0, len / 2, len.saturating_sub(100)] {
                    file.write_all_at(&[0xa5; 80], at)?;
                }
            }
            How::Truncate => fs::OpenOptions::new().write(true).open(&self.file)?.set_len(len / 3)?,
            How::Delete => fs::remove_file(&self.file)?,
        }
        let groups = len.div_ceil(GROUP);
        let lost = match how {
            How::Garble => groups.min(3),
            How::Truncate => groups - len / 3 / GROUP,
            How::Delete => groups,
        };
        Ok(match self.which {
            Which::Data | Which::Pack | Which::List | Which::LongList => lost * GROUP,
            // Made again from the data, asked for as a file, or from what lies there.
            Which::Tree | Which::Head | Which::Index => 0,
        })
    }
}

/// The one large artifact that is the list of a release: it starts with the name of an entry.
fn list_of(store: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    for file in fs::read_dir(store.join("artifacts"))? {
        let path = file?.path();
        let is_data = path.extension().is_some_and(|extension| extension == "data");
        if is_data && fs::metadata(&path)?.len() != LARGE {
            found.push(path);
        }
    }
    ensure!(found.len() == 1, "{found:?} is one list of entries");
    found.pop().context("just counted")
}

fn sent(network: &Network) -> Result<u64> {
    network.origin.status()?["limits"]["sent_bytes"]
        .as_u64()
        .context("limits.sent_bytes")
}

/// Fetches every release as a host and compares it with its source.
fn fetch_all(network: &Network, cases: &[Case], what: &str) -> Result<()> {
    for case in cases {
        let into = network.folder("out")?;
        let name = format!("{what}, {:?} damaged", case.which);
        let fetched = fetch(
            &network.sites[0].hosts[0],
            &format!("{PRODUCT}@{}", case.version),
            &into,
        )?;
        fetched.success().with_context(|| name.clone())?;
        same(&case.source, &into).with_context(|| name.clone())?;
        fs::remove_dir_all(&into)?;
        ensure!(
            network.sites[0].node.process()?.is_running(),
            "{name}: the node goes on"
        );
    }
    Ok(())
}

/// A network whose site keeps one release for each kind of file, all staged.
fn network_of(which: &[Which]) -> Result<(Network, Vec<Case>)> {
    let mut plan = Plan::default();
    plan.site.keep = Some(16);
    let network = Network::start(&plan)?;
    let mut cases = Vec::new();
    for (number, which) in which.iter().enumerate() {
        cases.push(Case::publish(&network, number, *which)?);
    }
    for case in &mut cases {
        network.sites[0].node.wait_staged(&case.version, SOON)?;
        case.locate(&network)?;
    }
    Ok((network, cases))
}

fn all_staged(network: &Network, cases: &[Case], what: &str) -> Result<()> {
    for case in cases {
        let staged = network.sites[0].node.wait_staged(&case.version, SOON);
        staged.with_context(|| format!("{what}, {:?} damaged", case.which))?;
    }
    Ok(())
}

/// Damages one file after another, each kind by itself, and has a host wait for its release.
fn damaged(down: bool) -> Result<()> {
    let (mut network, cases) = network_of(&WHICH)?;
    for how in HOWS {
        for case in &cases {
            let what = format!("{how:?} while {}", if down { "down" } else { "running" });
            let what = format!("{what}: {:?}", case.which);
            let before = sent(&network)?;
            if down {
                network.sites[0].node.stop()?;
            }
            let lost = case.damage(how).with_context(|| what.clone())?;
            if down {
                network.sites[0].node.start()?;
            }
            fetch_all(&network, std::slice::from_ref(case), &what)?;
            all_staged(&network, std::slice::from_ref(case), &what)?;
            let moved = sent(&network)? - before;
            ensure!(moved <= lost, "{what}: {lost} bytes were damaged, {moved} moved");
            println!("{what}: {lost} bytes damaged, {moved} moved");
        }
    }
    // What a running node made of it holds after a restart, too, and nobody has to be asked for it.
    let before = sent(&network)?;
    network.sites[0].node.stop()?;
    network.sites[0].node.start()?;
    all_staged(&network, &cases, "after a restart")?;
    fetch_all(&network, &cases, "after a restart")?;
    let moved = sent(&network)? - before;
    ensure!(moved == 0, "{moved} bytes moved after a restart");
    Ok(())
}

#[test]
fn a_store_file_damaged_while_the_node_is_down_heals_for_a_waiting_host() -> Result<()> {
    damaged(true)
}

#[test]
fn a_store_file_damaged_while_the_node_runs_heals_for_a_waiting_host() -> Result<()> {
    damaged(false)
}

#[test]
fn an_origin_whose_outboard_or_index_is_damaged_goes_on_serving() -> Result<()> {
    for how in HOWS {
        let mut network = Network::prepare(&Plan::default())?;
        network.origin.start()?;
        let case = Case::publish(&network, 0, Which::Tree)?;
        let large = samara_tests::tree::b3sum(&case.source.join("large"))?;
        let store = network.origin.store();
        let tree = store.join("artifacts").join(format!("{large}.tree"));
        for file in [tree, store.join("index.redb")] {
            Case {
                which: Which::Tree,
                version: case.version.clone(),
                source: case.source.clone(),
                file,
            }
            .damage(how)?;
        }
        network.sites[0].node.start()?;
        network.sites[0].node.wait_staged(&case.version, SOON)?;
        fetch_all(&network, std::slice::from_ref(&case), &format!("{how:?} at the origin"))?;
        ensure!(network.origin.process()?.is_running(), "{how:?}: the origin goes on");
    }
    Ok(())
}
