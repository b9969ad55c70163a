//! Whole commands by `-c`, against an agent on a real socket that follows a script.

use std::io::{BufRead, BufReader, Write};
use std::process::Command;

use crate::agent::*;
use reinstate_api::*;
use serde_json::{Value, json};

const RESTORE: [&str; 2] =
    ["-c", "restore remote-manager-backup location 192.0.2.9:2222 admin /backups fw-a.tar"];

fn answers(agent: &Agent) -> Vec<Value> {
    let changes = agent.changes();
    changes.iter().filter(|asked| asked.route == "POST /v1/answer").map(|asked| asked.body.clone()).collect()
}

fn declined() -> Outcome {
    let failures = vec![failure(Code::Declined, "an admin answered no", "")];
    Outcome::Failed { failures }
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
        assert!(text.contains("ssh-ed25519 key fingerprint is SHA256:abc."), "{text}");
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
fn a_line_that_is_no_command_reaches_nobody() {
    let agent = Agent::start(&[], vec![]);
    for (line, error) in [
        ("show nothing", "Syntax error: Illegal command line\n  show nothing\n       ^\n"),
        (
            "restore remote-manager-backup ../x",
            "Syntax error: Illegal parameter\n  restore remote-manager-backup ../x\n                                ^\n",
        ),
        ("restore", "Syntax error: The command is not completed\n  restore\n         ^\n"),
        (
            "/usr/lib/openssh/sftp-server",
            "Syntax error: Illegal command line\n  /usr/lib/openssh/sftp-server\n  ^\n",
        ),
    ] {
        assert_eq!(agent.run(&["-c", line], b""), (2, error.to_owned()));
    }
    assert_eq!(agent.asked(), 0);
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
fn an_agent_that_ends_is_an_error_before_the_commit_and_the_restart_after_it() {
    for (phase, exit, said) in [
        (Phase::Receiving, 3, "Error: the agent has ended [agent-unreachable]"),
        (Phase::Validating, 3, "Error: the agent has ended [agent-unreachable]"),
        (Phase::Committed, 0, "The system is going down for reboot NOW!"),
        (Phase::Finishing, 3, "Error: the agent has ended [agent-unreachable]"),
    ] {
        let agent = Agent::start(&[], vec![say(job(phase))]);
        let (status, text) = agent.run(&RESTORE, b"");
        assert_eq!(status, exit, "{phase}: {text}");
        assert!(text.contains(said), "{phase}: {text}");
    }
}

#[test]
fn no_agent_is_exit_status_three() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let output = Command::new(env!("CARGO_BIN_EXE_reinstate-shell"))
        .arg("--socket")
        .arg(&socket)
        .args(["-c", "show version"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.starts_with("Error: the agent does not answer at ") && text.contains("[agent-unreachable]\n"),
        "{text}"
    );
}

#[test]
fn nonsense_from_the_agent_is_one_clear_error() {
    let ok = |body: &str| format!("HTTP/1.0 200 OK\r\n\r\n{body}").into_bytes();
    for (reply, exit, says) in [
        (Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()), 1, "is not understood: "),
        (Reply::Raw(Vec::new()), 3, "ended the connection before it answered"),
        (
            Reply::Raw(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{}".to_vec()),
            3,
            "in the middle of an answer",
        ),
        (
            Reply::Raw(b"HTTP/1.0 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n{}".to_vec()),
            1,
            "length is out of range",
        ),
        (
            Reply::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec()),
            1,
            "encoding that was not asked for",
        ),
        (Reply::Raw(ok("{\"product\":")), 1, "is not understood: EOF"),
        (Reply::Raw(ok("[]")), 1, "is not understood: "),
        (Reply::Json(500, json!({"oops": 1})), 1, "status 500 without a reason"),
        (Reply::Json(500, json!({"failures": []})), 1, "status 500 without a reason"),
        (Reply::Flood(ok(""), b' '), 1, "larger than 16 MiB"),
        (Reply::Flood(b"HTTP/1.0 200 OK\r\nX: ".to_vec(), b'x'), 1, "the head of the answer does not end"),
    ] {
        let agent = Agent::start(&[("GET /v1/version", reply)], vec![]);
        let (status, text) = agent.run(&["-c", "show version"], b"");
        assert!(text.contains(says), "{says}: {text}");
        assert_eq!(status, exit, "{says}: {text}");
        assert!(text.lines().count() <= 2 && text.len() < 1000, "{text}");
    }
}

#[test]
fn an_event_without_end_is_refused() {
    let head = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
    let agent = Agent::start(&[("GET /v1/events", Reply::Flood(head, b' '))], vec![]);
    let (exit, text) = agent.run(&RESTORE, b"");
    assert_eq!(exit, 1, "{text}");
    assert!(text.contains("larger than 16 MiB"), "{text}");
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
fn show_version_has_the_form_that_clients_parse() {
    let about = json!({
        "product": "Virtual Firewall", "hostname": "fw-a", "model": "VFW-100", "uuid": "1111-2222", "version": "7.4.1",
        "build": "172", "patch": "", "hotfixes": ["HF-1", "HF-2"], "serial": "SN-1", "management": ["192.0.2.10/24"], "reinstate": "0.1.0",
    });
    let agent = Agent::start(&[("GET /v1/version", Reply::Json(200, about))], vec![]);
    let (exit, text) = agent.run(&["-c", "sh ver"], b"");
    assert_eq!(exit, 0);
    assert_eq!(
        text,
        "--------------------------[ fw-a ]--------------------------\n\
         Model                     : Virtual Firewall (VFW-100) Version 7.4.1 (Build 172)\n\
         UUID                      : 1111-2222\n\
         Hotfixes                  : HF-1, HF-2\n\
         Serial                    : SN-1\n\
         Management address        : 192.0.2.10/24\n\
         Restore agent             : 0.1.0\n\
         ------------------------------------------------------------\n"
    );
}

#[test]
fn show_managers_says_exactly_one_of_the_words_that_scripts_look_for() {
    let words = ["No managers configured.", "Pending", "Completed"];
    let manager =
        |state: &str| json!([{"host": "192.0.2.5", "name": "fmc", "device_uuid": "1111", "state": state}]);
    for (reply, word) in
        [(json!([]), words[0]), (manager("Pending"), words[1]), (manager("Completed"), words[2])]
    {
        let agent = Agent::start(&[("GET /v1/managers", Reply::Json(200, reply))], vec![]);
        let (exit, text) = agent.run(&["-c", "show managers"], b"");
        assert_eq!(exit, 0);
        for other in words {
            assert_eq!(text.contains(other), other == word, "{text}");
        }
    }
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
fn show_restore_tells_how_the_last_one_ended() {
    let mut now = status(None);
    let mut last = entry(Outcome::RolledBack {
        failures: vec![failure(
            Code::Unhealthy,
            "ssh.service is failed, expected active",
            "look at `show log`",
        )],
    });
    last.notes = vec!["taken off: site-a.pem".into()];
    now.last = Some(last);
    let agent =
        Agent::start(&[("GET /v1/status", Reply::Json(200, serde_json::to_value(now).unwrap()))], vec![]);
    let (exit, text) = agent.run(&["-c", "show restore"], b"");
    assert_eq!(exit, 0, "{text}");
    for part in [
        "Result                    : rolled back\n",
        "  - taken off: site-a.pem\n",
        "[unhealthy]\n",
        "configuration from before it is active again.\n",
        "Restore lock              : not taken\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
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
fn tables_of_backups_and_history_line_up() {
    let backups = json!([
        {"file": "fw-a.tar", "bytes": 1048576, "modified": "1970-01-01T00:00:00Z", "partial": false,
         "details": confirm(0).details},
        {"file": "x.tar.part", "bytes": 10, "modified": "1970-01-01T00:00:00Z", "partial": true, "details": null},
    ]);
    let history = serde_json::to_value([entry(declined()), entry(Outcome::Succeeded)]).unwrap();
    let agent = Agent::start(
        &[("GET /v1/backups", Reply::Json(200, backups)), ("GET /v1/history", Reply::Json(200, history))],
        vec![],
    );
    assert_eq!(
        agent.run(&["-c", "show backups"], b"").1,
        "File            Size  Date                     Hostname  Version\n\
         fw-a.tar     1.0 MiB  1970-01-01 00:00:00 UTC  fw-a      7.4.1 (Build 172)\n\
         x.tar.part  10 bytes  1970-01-01 00:00:00 UTC            download that has not ended\n"
    );
    assert_eq!(
        agent.run(&["-c", "show restore history"], b"").1,
        "Ended                    Job      Result             Generation  By     Source\n\
         1970-01-01 00:00:00 UTC  restore  failed (declined)  1 to 2      admin  backup fw-a.tar\n\
         1970-01-01 00:00:00 UTC  restore  succeeded          1 to 2      admin  backup fw-a.tar\n"
    );
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
        "Watching stopped; the job goes on. `show restore` returns to it, `restore abort` ends it.\n"
    );
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(agent.changes().len(), 1, "nothing but the start was asked");
}

#[test]
fn a_reader_that_goes_away_ends_the_shell_without_a_word() {
    let agent = Agent::start(&[], vec![say(confirm(1)), Step::Hold]);
    let mut child = agent.spawn(&[]);
    drop(child.stdout.take());
    let _ = child.stdin.take().unwrap().write_all(b"show restore\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.code().is_some(), "{:?}", output.status);
}

#[test]
fn without_a_terminal_a_session_prompts_at_line_start_and_ends_with_the_last_status() {
    let mut now = status(Some(confirm(1)));
    now.warnings = vec!["the record of restores cannot be read".into()];
    let agent = Agent::start(
        &[
            ("GET /v1/status", Reply::Json(200, serde_json::to_value(now).unwrap())),
            ("GET /v1/managers", Reply::Json(200, json!([]))),
        ],
        vec![],
    );
    let (exit, text) =
        agent.run(&[], b"show managers\r\nshow nothing\nhistory\r\nhelp?\nexit\nshow version\n");
    assert_eq!(exit, 0, "{text}");
    assert_eq!(
        text,
        "Warning: the record of restores cannot be read\n\
         A restore is running, asked for by admin: awaiting-answer.\n\
         It waits for an answer: `show restore` shows its question.\n\
         > \nNo managers configured.\n\
         > \nSyntax error: Illegal command line\n  show nothing\n       ^\n\
         > \n    1  show managers\n    2  show nothing\n    3  history\n\
         > \n  help                    List every command\n\
         > \n"
    );
    let (exit, _) = agent.run(&[], b"show nothing\n");
    assert_eq!(exit, 2);
}
