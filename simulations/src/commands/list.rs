//! `list`: the built-in scenarios and what each is about.

use samara_simulations::scenario::BUILT_IN;

/// The scenarios' names, with the first line of each.
pub(crate) fn list() -> String {
    let about = |text: &str| {
        let first = text.lines().next().unwrap_or_default();
        first.trim_start_matches(['#', ' ']).to_owned()
    };
    BUILT_IN
        .iter()
        .map(|(name, text)| format!("{name:20} {}\n", about(text)))
        .collect()
}
