//! A printer into memory, for the tests of every command.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::{Format, Printer};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while held").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was printed.
pub(crate) struct Memory {
    out: Shared,
    err: Shared,
}

impl Memory {
    /// A printer and what it will have printed.
    pub(crate) fn printer(format: Format) -> (Printer, Self) {
        let (out, err) = (Shared::default(), Shared::default());
        let printer = Printer::with_writers(format, Box::new(out.clone()), Box::new(err.clone()));
        (printer, Self { out, err })
    }

    /// Stdout so far.
    pub(crate) fn out(&self) -> String {
        text(&self.out)
    }

    /// Stderr so far.
    pub(crate) fn err(&self) -> String {
        text(&self.err)
    }
}

fn text(shared: &Shared) -> String {
    String::from_utf8(shared.0.lock().expect("no panic while held").clone()).expect("UTF-8")
}
