//! Which groups to ask of one neighbour.
//!
//! Pure: state in, groups out. Blocks that were begun come first (they can be passed on when they are whole), then any, from a
//! random place on, so that neighbours ask for different blocks and a span is mostly one run of bytes. That rare blocks should
//! go first is deliberately absent: docs/scheduler.md has what it earned, and where it may.

use crate::bits::Bits;
use crate::limits::{GROUP_BYTES, REQUEST_RANGES_MAX};
use crate::rng::Rng;
use crate::tree::ranges::RangeSet;

use super::peer::View;
use super::transfer::{Transfer, first_groups, touches};

/// A block of at most so many bytes is asked for whole.
const WHOLE_BLOCK: u64 = 1 << 20;

/// How to pick.
pub(super) struct Choice<'a> {
    /// Bytes wished for.
    pub(super) bytes: u64,
    /// Whether to go through in order: there is only one source.
    pub(super) in_order: bool,
    /// Blocks to leave to cheaper sources.
    pub(super) leave: Option<&'a Bits>,
}

/// The groups to ask of a neighbour with this view; empty when it has nothing that is missing here.
pub(super) fn pick(transfer: &Transfer, view: &View, choice: &Choice<'_>, rng: &mut Rng) -> RangeSet {
    let mut open = candidates(transfer, view, choice.leave);
    let mut picked = RangeSet::new();
    let mut left = (choice.bytes / GROUP_BYTES).max(1);
    while left > 0 && picked.ranges().len() < REQUEST_RANGES_MAX {
        let start = if choice.in_order {
            0
        } else {
            u32::try_from(rng.below(u64::from(transfer.table.len()))).expect("at most 4,096 blocks")
        };
        let Some(mut block) = best(transfer, &open, start) else {
            break;
        };
        let begun = is_begun(transfer, block);
        loop {
            open[(block / 64) as usize] &= !(1 << (block % 64));
            let taken = take(transfer, block, left, picked.is_empty());
            left -= taken.count().min(left);
            picked.union_with(&taken);
            let next = block + 1;
            let runs_on = is_set(&open, next) && is_begun(transfer, next) == begun;
            if left == 0 || !runs_on || picked.ranges().len() >= REQUEST_RANGES_MAX {
                break;
            }
            block = next;
        }
    }
    picked
}

fn candidates(transfer: &Transfer, view: &View, leave: Option<&Bits>) -> Vec<u64> {
    let words = transfer.wanted.words().iter().enumerate();
    words
        .map(|(at, wanted)| {
            let leave = leave.map_or(0, |bits| bits.words()[at]);
            let not = transfer.have.words()[at] | transfer.busy.words()[at] | view.refused.words()[at] | leave;
            wanted & view.have.words()[at] & !not
        })
        .collect()
}

fn is_set(open: &[u64], block: u32) -> bool {
    open.get((block / 64) as usize)
        .is_some_and(|word| word >> (block % 64) & 1 == 1)
}

fn is_begun(transfer: &Transfer, block: u32) -> bool {
    let entry = transfer.table.get(block);
    entry.groups > 1 && (touches(&transfer.held, entry.range()) || touches(&transfer.requested, entry.range()))
}

/// An open block that was begun, else the first open one at or after `start`, and around.
fn best(transfer: &Transfer, open: &[u64], start: u32) -> Option<u32> {
    let begun = around(open, start).find(|block| is_begun(transfer, *block));
    begun.or_else(|| around(open, start).next())
}

/// All open blocks: those at or after `start`, then those before.
fn around(open: &[u64], start: u32) -> impl Iterator<Item = u32> + '_ {
    let (first, words) = ((start / 64) as usize, open.len());
    (0..=words).flat_map(move |step| {
        let at = (first + step) % words.max(1);
        // The word that holds `start` is seen twice: its upper part first, its lower part last.
        let upper = u64::MAX << (start % 64);
        let part = match step {
            0 => upper,
            _ if step == words => !upper,
            _ => u64::MAX,
        };
        let mut word = open.get(at).map_or(0, |word| word & part);
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(u32::try_from(at).expect("at most 64 words") * 64 + bit)
        })
    })
}

/// What to take of a block when `left` more groups are wished for.
fn take(transfer: &Transfer, block: u32, left: u64, is_first: bool) -> RangeSet {
    let askable = transfer.askable(block);
    let fits = askable.count() <= left;
    let small = askable.count() * GROUP_BYTES <= WHOLE_BLOCK;
    match (fits, small) {
        (true, _) => askable,
        // Half a small block is worth nothing to anybody: take it whole, or leave it when there is something already.
        (false, true) if is_first => askable,
        (false, true) => RangeSet::new(),
        (false, false) => first_groups(&askable, left),
    }
}
