//! Which groups to ask of one neighbour: the receiver's rule "locally rarest wanted block".
//!
//! Pure: state in, groups out. Blocks that were begun come first (they can be passed on when they are whole), then the
//! rarest; ties start at a random place and run on, so that neighbours ask for different blocks and a span is mostly one
//! run of bytes.

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
    /// Whether rare blocks go first.
    pub(super) rarest: bool,
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
            u32::try_from(rng.below(open.len() as u64 * 64)).expect("at most 4,096 blocks")
        };
        let Some(mut block) = best(transfer, &open, start, choice.rarest) else {
            break;
        };
        let key = rank(transfer, block, choice.rarest);
        loop {
            open[(block / 64) as usize] &= !(1 << (block % 64));
            let taken = take(transfer, block, left, picked.is_empty());
            left -= taken.count().min(left);
            picked.union_with(&taken);
            let next = block + 1;
            let runs_on = is_set(&open, next) && rank(transfer, next, choice.rarest) == key;
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

/// Lower is better: begun blocks, then rare ones.
fn rank(transfer: &Transfer, block: u32, rarest: bool) -> (bool, u16) {
    let avail = if rarest { transfer.avail[block as usize] } else { 0 };
    (!is_begun(transfer, block), avail)
}

fn is_begun(transfer: &Transfer, block: u32) -> bool {
    let entry = transfer.table.get(block);
    entry.groups > 1 && (touches(&transfer.held, entry.range()) || touches(&transfer.requested, entry.range()))
}

/// The best-ranked open block, the first at or after `start` (and around) among equals.
fn best(transfer: &Transfer, open: &[u64], start: u32, rarest: bool) -> Option<u32> {
    let (first, words) = ((start / 64) as usize, open.len());
    let mut best: Option<((bool, u16), u32)> = None;
    for step in 0..=words {
        let at = (first + step) % words.max(1);
        let mut word = *open.get(at)?;
        // The word that holds `start` is seen twice: its upper part first, its lower part last.
        let upper = u64::MAX << (start % 64);
        if step == 0 {
            word &= upper;
        } else if step == words {
            word &= !upper;
        }
        while word != 0 {
            let block = u32::try_from(at).expect("at most 64 words") * 64 + word.trailing_zeros();
            word &= word - 1;
            let key = rank(transfer, block, rarest);
            if best.is_none_or(|(least, _)| key < least) {
                best = Some((key, block));
            }
        }
    }
    best.map(|(_, block)| block)
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
