use std::sync::{Arc, Mutex};

use super::*;

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

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic while held").clone()).expect("UTF-8")
    }
}

#[derive(Serialize)]
struct Answer {
    product: &'static str,
    bytes: u64,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {} bytes", self.product, self.bytes)
    }
}

const ANSWER: Answer = Answer {
    product: "acme/app",
    bytes: 7,
};

fn printer(format: Format) -> (Printer, Shared, Shared) {
    let (out, err) = (Shared::default(), Shared::default());
    (
        Printer::with_writers(format, Box::new(out.clone()), Box::new(err.clone())),
        out,
        err,
    )
}

#[test]
fn a_result_is_text_for_people_and_an_object_with_schema_for_programs() {
    let (mut human, out, _) = printer(Format::Human);
    human.print(&ANSWER).expect("memory");
    assert_eq!(out.text(), "acme/app has 7 bytes\n");
    let (mut json, out, _) = printer(Format::Json);
    json.print(&ANSWER).expect("memory");
    assert_eq!(out.text(), "{\"schema\":1,\"product\":\"acme/app\",\"bytes\":7}\n");
}

#[test]
fn notes_and_warnings_never_reach_stdout() {
    let (mut json, out, err) = printer(Format::Json);
    json.note("waiting for a node");
    json.warn("clock");
    json.detail("only with -v");
    assert_eq!(out.text(), "");
    assert_eq!(err.text(), "waiting for a node\nwarning: clock\n");
}

#[test]
fn an_error_is_a_line_on_stderr_and_an_object_on_stdout() {
    let (mut json, out, err) = printer(Format::Json);
    json.error(&CliError::usage("--up", "`50` has no known unit").way_out("write 50mbit"));
    assert_eq!(err.text(), "error: --up: `50` has no known unit; write 50mbit\n");
    assert_eq!(
        out.text(),
        "{\"schema\":1,\"error\":{\"status\":\"usage\",\"code\":2,\"culprit\":\"--up\",\"what\":\"`50` has no known unit\",\
         \"way_out\":\"write 50mbit\"}}\n"
    );
}

#[test]
fn something_that_is_no_object_is_refused_rather_than_printed_without_schema() {
    let (mut json, out, _) = printer(Format::Json);
    assert!(json.json(&7).is_err());
    assert_eq!(out.text(), "");
}
