//! Work on many files at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::store::StoreError;
use crate::store::shared::{Shared, lock};

impl Shared {
    /// Runs `work` for `0..count` on all threads; stops at the first error.
    pub(in crate::store) fn in_parallel(
        &self,
        count: usize,
        work: impl Fn(usize) -> Result<(), StoreError> + Sync,
    ) -> Result<(), StoreError> {
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let run = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return;
                }
                if let Err(error) = work(at) {
                    next.store(count, Ordering::Relaxed);
                    lock(&failed).get_or_insert(error);
                }
            }
        };
        if count < 2 || self.threads < 2 {
            run();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..self.threads.min(count) {
                    scope.spawn(run);
                }
            });
        }
        failed.into_inner().unwrap_or_default().map_or(Ok(()), Err)
    }
}
