use super::memory::Memory;
use super::*;

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

#[test]
fn a_result_is_text_for_people_and_an_object_with_schema_for_programs() {
    let (mut human, memory) = Memory::printer(Format::Human);
    human.print(&ANSWER).expect("memory");
    assert_eq!(memory.out(), "acme/app has 7 bytes\n");
    let (mut json, memory) = Memory::printer(Format::Json);
    json.print(&ANSWER).expect("memory");
    assert_eq!(memory.out(), "{\"schema\":1,\"product\":\"acme/app\",\"bytes\":7}\n");
}

#[test]
fn notes_and_warnings_never_reach_stdout() {
    let (mut json, memory) = Memory::printer(Format::Json);
    json.note("waiting for a node");
    json.warn("clock");
    json.detail("only with -v");
    assert_eq!(memory.out(), "");
    assert_eq!(memory.err(), "waiting for a node\nwarning: clock\n");
}

#[test]
fn an_error_is_a_line_on_stderr_and_an_object_on_stdout() {
    let (mut json, memory) = Memory::printer(Format::Json);
    json.error(&CliError::usage("--up", "`50` has no known unit").way_out("write 50mbit"));
    assert_eq!(memory.err(), "error: --up: `50` has no known unit; write 50mbit\n");
    assert_eq!(
        memory.out(),
        "{\"schema\":1,\"error\":{\"status\":\"usage\",\"code\":2,\"culprit\":\"--up\",\"what\":\"`50` has no known unit\",\
         \"way_out\":\"write 50mbit\"}}\n"
    );
}

#[test]
fn something_that_is_no_object_is_refused_rather_than_printed_without_schema() {
    let (mut json, memory) = Memory::printer(Format::Json);
    assert!(json.json(&7).is_err());
    assert_eq!(memory.out(), "");
}
