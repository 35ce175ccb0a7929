//! The repository as text: files, and Rust source without comments, string contents and in-file test modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One Rust file.
pub(crate) struct Source {
    /// Path from the repository's root, with `/`.
    pub(crate) path: String,
    /// The file as written.
    pub(crate) text: String,
    /// The same length, with comments, string contents and `#[cfg(test)]` modules blanked.
    pub(crate) code: String,
}

impl Source {
    /// Reads `text` as the file `path`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = without_tests(&without_comments(text));
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
        }
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/').skip(1);
        parts.any(|part| part == "tests" || part == "tests.rs" || part == "benches")
    }

    /// `path:line: text` of each line of code that contains one of `words`.
    pub(crate) fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let code = self.code.lines().zip(self.text.lines()).enumerate();
        code.filter(|(_, (code, _))| words.iter().any(|word| has_word(code, word)))
            .map(|(index, (_, text))| format!("{}:{}: {}", self.path, index + 1, text.trim()))
            .collect()
    }
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("the tests crate lies one level below the root")
        .to_path_buf()
}

/// Every file that git tracks or would track, from the root, sorted.
pub(crate) fn tracked() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files failed: is this a git checkout?");
    let text = String::from_utf8(output.stdout).expect("paths are unicode");
    let mut paths: Vec<_> = text
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect();
    paths.retain(|path| root().join(path).is_file());
    paths.sort();
    paths.dedup();
    paths
}

/// Every Rust file whose path starts with `under` (empty: all).
pub(crate) fn rust(under: &str) -> Vec<Source> {
    let paths = tracked().into_iter();
    let paths = paths.filter(|path| path.starts_with(under) && Path::new(path).extension().is_some_and(|e| e == "rs"));
    let sources: Vec<_> = paths.map(|path| Source::new(&path, &read(&path))).collect();
    assert!(
        !sources.is_empty(),
        "no Rust file under `{under}`: the check would be empty"
    );
    sources
}

/// The text of a tracked file.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether `word` stands in `line` and is not the tail or the head of a longer name.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let head = word.starts_with(name) && before.is_some_and(name);
        let tail = word.ends_with(name) && after.is_some_and(name);
        !head && !tail
    })
}

/// Blanks comments and the contents of string and character literals; lines keep their numbers.
fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !joins_name(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'\'' => char_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let found = bytes[from..].windows(what.len()).position(|window| window == what);
    found.map_or(bytes.len(), |offset| from + offset)
}

fn joins_name(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn block_comment_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let hashes = bytes[from + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = from + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    Some((find(bytes, open + 1, &close) + close.len()).min(bytes.len()))
}

/// The end of a character literal, or none where the quote opens a lifetime.
fn char_end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = &bytes[from + 1..];
    if rest.first() == Some(&b'\\') {
        return Some(from + 2 + rest[1..].iter().skip(1).position(|byte| *byte == b'\'')? + 2);
    }
    let width = std::str::from_utf8(&rest[..rest.len().min(4)])
        .ok()
        .or_else(|| (1..4).rev().find_map(|n| std::str::from_utf8(rest.get(..n)?).ok()))?
        .chars()
        .next()?
        .len_utf8();
    (rest.get(width) == Some(&b'\'')).then_some(from + width + 2)
}

/// Blanks each `#[cfg(test)]` item that has a body.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let end = item_end(&out, start);
        let blank: String = out[start..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        out.replace_range(start..end, &blank);
    }
    out
}

fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code[start..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return start + offset + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return start + offset + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_strings_and_test_modules_are_not_code() {
    let text = r##"// std::fs
let a = "std::net"; /* std::thread /* nested */ still */ let b = r#"std::env"#; let c = '"'; let d: &'static str = "x";
use std::process;
#[cfg(test)]
mod tests { fn f() { std::fs::read(); } }
fn after() {}
"##;
    let source = Source::new("a/src/b.rs", text);
    for word in ["std::fs", "std::net", "std::thread", "std::env"] {
        assert!(source.lines_with(&[word]).is_empty(), "{word} in {}", source.code);
    }
    assert_eq!(
        source.lines_with(&["std::process"]),
        ["a/src/b.rs:3: use std::process;"]
    );
    assert_eq!(source.lines_with(&["after"]).len(), 1, "{}", source.code);
    assert_eq!(source.code.lines().count(), text.lines().count());
}

#[test]
fn a_word_is_not_found_inside_a_longer_name() {
    assert!(has_word("let x = Instant::now();", "Instant"));
    assert!(!has_word("let x = Instantly::now();", "Instant"));
    assert!(!has_word("my_std::fs", "std::fs"));
}
