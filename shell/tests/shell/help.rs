//! A question mark at a line's end, where no editor hears it as a key.

use crate::agent::*;
use reinstate_api::*;
use serde_json::json;

#[test]
fn a_question_mark_that_belongs_to_an_argument_is_no_cry_for_help() {
    let done = JobView { kind: JobKind::Configure, ..ended(Outcome::Succeeded) };
    let started = Reply::Json(200, json!({ "id": id() }));
    let agent = Agent::start(&[("POST /v1/configure", started)], vec![say(done)]);
    let (status, text) = agent.run(&["-c", "configure manager add 192.0.2.1 secret?"], b"");
    assert_eq!(status, 0, "{text}");
    let asked = agent.changes();
    assert_eq!(asked[0].body["changes"][0]["manager-add"]["key"], json!("secret?"), "{text}");
}

#[test]
fn a_question_mark_behind_a_space_or_behind_a_part_of_a_word_tells_what_may_follow() {
    let agent = Agent::start(&[], vec![]);
    for (line, expected) in [
        ("show ver?", "  version "),
        ("show ?", "  version "),
        ("backup delete ?", "  FILE "),
        ("show version | include ?", "  PATTERN "),
        ("?", "  show "),
    ] {
        let (status, text) = agent.run(&["-c", line], b"");
        assert!(status == 0 && text.contains(expected), "{line}: {status} {text}");
    }
    assert_eq!(agent.changes(), []);
}
