//! Watching jobs and answering their questions, by `-c`.

use std::io::{BufRead, BufReader};

use crate::agent::*;
use reinstate_api::*;
use serde_json::{Value, json};

fn answers(agent: &Agent) -> Vec<Value> {
    let changes = agent.changes();
    changes.iter().filter(|asked| asked.route == "POST /v1/answer").map(|asked| asked.body.clone()).collect()
}

#[test]
fn a_restore_asks_for_the_password_shows_the_backup_asks_and_ends_with_the_reboot() {
    let agent = Agent::start(
        &[],
        vec![
            say(job(Phase::Receiving)),
            say(password(1)),
            Step::Await("POST /v1/answer", 1),
            say(confirm(2)),
            Step::Await("POST /v1/answer", 2),
            say(job(Phase::Validating)),
            say(job(Phase::Committed)),
            say(job(Phase::Rebooting)),
            Step::Hold,
        ],
    );
    let (exit, text) = agent.run(&RESTORE, b"corr\xc3\xa9ct horse\nY\n");
    assert_eq!(exit, 0, "{text}");
    assert!(!text.contains("horse"), "{text}");
    let mut from = 0;
    for part in [
        "admin@192.0.2.9's password: \n",
        "\nModel = VFW-100\nSoftware Version = 7.4.1 (Build 172)\nSerial = SN-1\nHostname = fw-a\n",
        "\nBackup Filename = fw-a.tar\n",
        "Take the failed unit off the network",
        "site-a.pem\n",
        "the archive has no domain licence\n",
        "Are you sure you want to continue (Y/N): \n",
        "Checking the new configuration\n",
        "The system is going down for reboot NOW!\n",
    ] {
        let at = text[from..]
            .find(part)
            .unwrap_or_else(|| panic!("{part:?} is not there or too early in:\n{text}"));
        from += at + part.len();
    }
    let changes = agent.changes();
    assert_eq!(changes[0].route, "POST /v1/restore");
    assert_eq!(
        changes[0].body,
        json!({"source": {"location": {"host": "192.0.2.9", "port": 2222, "user": "admin", "path": "/backups/fw-a.tar"}}, "check": false})
    );
    assert_eq!(
        answers(&agent),
        [
            json!({"question": 1, "answer": {"secret": "corréct horse"}}),
            json!({"question": 2, "answer": "yes"})
        ]
    );
}

#[test]
fn an_unknown_host_key_is_accepted_by_yes_and_not_by_the_y_of_a_script() {
    let key = HostKey {
        host: "[192.0.2.9]:2222".into(),
        algorithm: "ssh-ed25519".into(),
        sha256: "SHA256:abc".into(),
        md5: "MD5:00:11".into(),
    };
    let steps = || {
        vec![
            say(asking(7, QuestionKind::HostKey(key.clone()))),
            Step::Await("POST /v1/answer", 1),
            say(ended(declined())),
        ]
    };
    for (typed, expected) in [
        ("md5\nyes\n", Some("yes")),
        ("SHA256:abc\n", Some("yes")),
        ("no\n", Some("no")),
        ("Y\nY\nY\n", None),
    ] {
        let agent = Agent::start(&[], steps());
        let (exit, text) = agent.run(&RESTORE, typed.as_bytes());
        assert_eq!(exit, 1, "{typed:?}: {text}");
        assert!(text.contains("The authenticity of host '[192.0.2.9]:2222' can't be established."), "{text}");
        assert!(text.contains("The fingerprint of its ssh-ed25519 key is\n  SHA256:abc\n"), "{text}");
        assert_eq!(text.contains("MD5:00:11"), typed.starts_with("md5"), "{text}");
        let expected: Vec<Value> =
            expected.iter().map(|answer| json!({"question": 7, "answer": answer})).collect();
        assert_eq!(answers(&agent), expected, "{typed:?}");
    }
}

#[test]
fn every_failure_of_a_refusal_is_shown_with_its_code_and_the_way_on() {
    let failures = [
        failure(
            Code::ModelMismatch,
            "the backup is of model VFW-200, this appliance is a VFW-100",
            "use a VFW-200",
        ),
        failure(Code::BuildMismatch, "the backup has build 172, this appliance 171", "install build 172"),
    ];
    let agent = Agent::start(&[("POST /v1/restore", refusal(409, &failures))], vec![]);
    let (exit, text) = agent.run(&RESTORE, b"");
    assert_eq!(exit, 1);
    assert_eq!(
        text,
        "Error: the backup is of model VFW-200, this appliance is a VFW-100 [model-mismatch]\n       use a VFW-200\n\
         Error: the backup has build 172, this appliance 171 [build-mismatch]\n       install build 172\n"
    );
}

#[test]
fn a_job_that_fails_says_why_and_that_nothing_was_changed() {
    let agent = Agent::start(&[], vec![say(job(Phase::Receiving)), say(ended(declined()))]);
    let (exit, text) = agent.run(&RESTORE, b"");
    assert_eq!(exit, 1);
    assert!(
        text.ends_with("Error: an admin answered no [declined]\nThe restore failed. Nothing was changed.\n"),
        "{text}"
    );
}

#[test]
fn a_check_prints_every_path_by_domain_and_asks_nothing() {
    let mut done = confirm(0);
    done.kind = JobKind::Check;
    done.question = None;
    done.outcome = Some(Outcome::Succeeded);
    let agent = Agent::start(&[], vec![say(done)]);
    let (exit, text) = agent.run(&["-c", "restore remote-manager-backup fw-a.tar check"], b"");
    assert_eq!(exit, 0, "{text}");
    assert!(text.contains("network (replace)\n  changed  etc/systemd/network/10-mgmt.network\n"), "{text}");
    assert!(
        text.contains(
            "vpn (remove): taken off, to be enrolled again\n  removed  etc/swanctl/x509/site-a.pem\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("Nothing was changed.\n"), "{text}");
    assert_eq!(agent.changes()[0].body, json!({"source": {"backup": "fw-a.tar"}, "check": true}));
}

#[test]
fn the_end_of_the_input_at_a_question_leaves_the_job_waiting() {
    for input in [&b""[..], b"maybe\n", b"maybe\n\nlater\nY\n"] {
        let agent = Agent::start(&[], vec![say(confirm(3)), Step::Hold]);
        let (exit, text) = agent.run(&RESTORE, input);
        assert_eq!(exit, 1, "{text}");
        assert!(text.contains("No answer was given: the job waits for one until 2096-10-02 07:06:40 UTC. `show restore` returns"), "{text}");
        assert_eq!(answers(&agent), Vec::<Value>::new());
    }
}

#[test]
fn a_question_that_somebody_else_answers_is_withdrawn() {
    let agent =
        Agent::start(&[], vec![say(confirm(3)), Step::Await("GET /v1/texts", 1), say(ended(declined()))]);
    let mut child = agent.spawn(&RESTORE);
    let input = child.stdin.take().unwrap();
    let (exit, text) = finish(child);
    drop(input);
    assert_eq!(exit, 1);
    assert!(
        text.contains("The question needs no answer any more.\nError: an admin answered no [declined]\n"),
        "{text}"
    );
}

#[test]
fn an_answer_that_comes_too_late_is_not_the_end_of_watching() {
    let late = refusal(409, &[failure(Code::BadRequest, "question 3 is not asked any more", "")]);
    let agent = Agent::start(
        &[("POST /v1/answer", late)],
        vec![
            say(confirm(3)),
            Step::Await("POST /v1/answer", 1),
            say(job(Phase::Validating)),
            say(job(Phase::Rebooting)),
            Step::Hold,
        ],
    );
    let (exit, text) = agent.run(&RESTORE, b"Y\n");
    assert_eq!(exit, 0, "{text}");
    assert!(text.contains("[bad-request]\nChecking the new configuration\n"), "{text}");
}

#[test]
fn text_from_outside_cannot_act_on_the_terminal_or_pass_for_a_prompt() {
    let hostile = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n> ";
    let mut view = confirm(1);
    view.notes = vec![hostile.into()];
    view.source = hostile.into();
    view.details.as_mut().unwrap().device.hostname = hostile.into();
    view.changes[1].removed = vec![hostile.into(), "#".into()];
    let prompt = QuestionKind::Prompt { prompt: format!("{hostile}>"), echo: true };
    let agent = Agent::start(
        &[],
        vec![
            say(view),
            Step::Await("POST /v1/answer", 1),
            say(asking(2, prompt)),
            Step::Await("POST /v1/answer", 2),
            say(ended(declined())),
        ],
    );
    let (exit, text) = agent.run(&RESTORE, b"y\nx\n");
    assert_eq!(exit, 1, "{text}");
    assert!(!text.contains(['\u{1b}', '\u{7}', '\r']), "{text:?}");
    assert!(text.lines().all(|line| !line.trim_start().starts_with('>')), "{text}");
    assert_eq!(text.matches("Hostname = \\u{1b}[2J").count(), 1, "{text}");
}

#[test]
fn deleting_the_manager_asks_with_the_warning_in_view() {
    let mut asks = asking(1, QuestionKind::Confirm);
    asks.kind = JobKind::Configure;
    asks.notes = vec!["the manager keeps a ghost of this device".into()];
    let mut done = asks.clone();
    (done.question, done.outcome) = (None, Some(Outcome::Succeeded));
    let agent = Agent::start(
        &[("DELETE /v1/manager", Reply::Json(200, json!({"id": id()})))],
        vec![say(asks), Step::Await("POST /v1/answer", 1), say(done)],
    );
    let (exit, text) = agent.run(&["-c", "configure manager delete"], b"yes\n");
    assert_eq!(exit, 0, "{text}");
    let (ghost, question) =
        (text.find("ghost").unwrap(), text.find("Are you sure you want to continue").unwrap());
    assert!(ghost < question, "{text}");
    assert!(!text.contains("Caution"), "{text}");
    assert_eq!(answers(&agent), [json!({"question": 1, "answer": "yes"})]);
}

#[test]
fn show_restore_goes_to_a_running_job_and_answers_its_question() {
    let running = Reply::Json(200, serde_json::to_value(status(Some(confirm(9)))).unwrap());
    let agent = Agent::start(
        &[("GET /v1/status", running)],
        vec![say(confirm(9)), Step::Await("POST /v1/answer", 1), say(ended(declined()))],
    );
    let (exit, text) = agent.run(&["-c", "show restore"], b"N\n");
    assert_eq!(exit, 1, "{text}");
    assert!(
        text.contains("Phase                     : awaiting-answer\n") && text.contains("Model = VFW-100\n"),
        "{text}"
    );
    assert_eq!(answers(&agent), [json!({"question": 9, "answer": "no"})]);
}

#[test]
fn a_job_that_was_followed_by_another_is_looked_up_on_record() {
    let mut other = job(Phase::Receiving);
    other.id = uuid::Uuid::from_u128(1);
    let history = Reply::Json(200, serde_json::to_value([entry(Outcome::Succeeded)]).unwrap());
    let agent = Agent::start(&[("GET /v1/history", history)], vec![say(other), Step::Hold]);
    let (exit, text) = agent.run(&RESTORE, b"");
    assert_eq!(exit, 0, "{text}");
    assert_eq!(text, "The restore succeeded.\nEnrol the VPN certificates again.\n");
}

#[test]
fn ctrl_c_ends_the_watching_and_not_the_job() {
    let agent = Agent::start(&[], vec![say(job(Phase::Receiving)), Step::Hold]);
    let mut child = agent.spawn(&RESTORE);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "Receiving backup fw-a.tar\n");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    line.clear();
    output.read_line(&mut line).unwrap();
    assert_eq!(
        line,
        "Watching stopped; the job goes on.
"
    );
    assert_eq!(exit_status(&mut child), Some(1));
    assert_eq!(agent.changes().len(), 1, "nothing but the start was asked");
}
