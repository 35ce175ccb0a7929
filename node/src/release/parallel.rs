//! The same work on many items, on a few threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Items taken at a time: neighbours lie in the same folder more often than not.
const BATCH: usize = 64;

/// Threads to use when nobody says otherwise.
pub(super) fn default_threads() -> usize {
    std::thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .min(8)
}

/// Runs `work` on slices of `items`, each with the state that `state` makes per thread, and gives back what each slice
/// gave in the order of the items. The first error (in the order of the items that were begun) ends it. With one thread
/// everything runs on the caller's.
pub(super) fn map_batches<T: Sync, S, R: Send, E: Send>(
    items: &[T],
    threads: usize,
    state: impl Fn() -> Result<S, E> + Sync,
    work: impl Fn(&mut S, &[T]) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let size = items.len().div_ceil(threads.max(1) * 4).clamp(1, BATCH);
    let batches: Vec<&[T]> = items.chunks(size).collect();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    let run = || -> Result<(), (usize, E)> {
        let mut own = state().map_err(|error| (usize::MAX, error))?;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(at) else { return Ok(()) };
            match work(&mut own, batch) {
                Ok(result) => done.lock().expect("no thread panics with the lock").push((at, result)),
                Err(error) => {
                    next.store(batches.len(), Ordering::Relaxed);
                    return Err((at, error));
                }
            }
        }
    };
    let threads = threads.clamp(1, batches.len().max(1));
    let mut errors: Vec<(usize, E)> = if threads == 1 {
        run().err().into_iter().collect()
    } else {
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            let ends = handles
                .into_iter()
                .map(|handle| handle.join().expect("a worker panicked"));
            ends.filter_map(Result::err).collect()
        })
    };
    errors.sort_by_key(|(at, _)| *at);
    if let Some((_, error)) = errors.into_iter().next() {
        return Err(error);
    }
    let mut done = done.into_inner().expect("no thread panics with the lock");
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_error_wins() {
        let items: Vec<u32> = (0..1000).collect();
        for threads in [1, 4] {
            let sums = map_batches(&items, threads, || Ok::<_, u32>(()), |(), batch| Ok(batch.to_vec()));
            assert_eq!(sums.map(|batches| batches.concat()), Ok(items.clone()));
            let fail = map_batches(
                &items,
                threads,
                || Ok(()),
                |(), batch| {
                    batch
                        .iter()
                        .find(|item| **item >= 700)
                        .map_or(Ok(()), |item| Err(*item))
                },
            );
            assert!(fail.is_err());
        }
        assert_eq!(
            map_batches(&items[..0], 4, || Ok::<_, u32>(()), |(), _| Ok(())),
            Ok(vec![])
        );
    }
}
