//! What a release is made of: a small signed head, the list of its entries, and the layout that follows from both.
//!
//! | module | holds |
//! |---|---|
//! | [`path`], [`twins`] | names that mean the same file everywhere, and never two of them one |
//! | [`platform`] | `os/arch[/variant]` and sets of them |
//! | [`entry`], [`list`] | a line of the entries list, and the list as a stream |
//! | [`head`] | the TUF target |
//! | [`layout`], [`blocks`] | where every byte lies, and in which units it is announced |
//! | [`contents`] | who wants which blocks |
//! | [`reply`] | a whole reply held against a layout |
//!
//! All of it is strict: one release, one spelling.

pub mod blocks;
pub mod contents;
pub mod entry;
pub mod head;
pub mod layout;
pub mod list;
pub mod path;
pub mod platform;
pub mod reply;
pub mod twins;
