//! Whether the keys that are to seal are where the file says. An origin without them renews nothing, and after seven days
//! all of its metadata has expired.

use std::fs::File as Open;

use super::super::ConfigError;
use super::super::file::File;
use super::super::locate::Source;
use super::resolve::path;

/// What the folder must have.
const KEYS: [&str; 2] = ["snapshot.key", "timestamp.key"];

pub(super) fn check(source: &Source<'_>, file: &File) -> Result<(), ConfigError> {
    for text in file.product.iter().filter_map(|product| product.signer.as_ref()) {
        let dir = path(source, text)?;
        let refused = |what: String| {
            let way_out = "name the folder that has snapshot.key and timestamp.key and that the node's user may read, \
                           HOME/vendor/keys after `vendor init`, or leave it out where another origin seals";
            source.error(text.span(), what, way_out)
        };
        if !dir.is_dir() {
            return Err(refused(format!("there is no folder {}", dir.display())));
        }
        for path in KEYS.map(|name| dir.join(name)) {
            Open::open(&path).map_err(|error| refused(format!("{}: {error}", path.display())))?;
        }
    }
    Ok(())
}
