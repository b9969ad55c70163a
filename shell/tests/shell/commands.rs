//! Commands that only show, and what goes wrong on the way to the agent, by `-c`.

use std::io::Write;
use std::process::Command;

use crate::agent::*;
use jiff::Timestamp;
use reinstate_api::*;
use serde_json::json;

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
fn a_line_that_is_too_long_is_no_command() {
    let agent = Agent::start(&[], vec![]);
    let line = format!("{}show version", " ".repeat(70_000));
    let (status, text) = agent.run(&["-c", &line], b"");
    assert!(status == 2 && text.starts_with("Syntax error: Illegal command line\n"), "{text}");
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
        "File            Size  Date (UTC)        Hostname  Version\n\
         fw-a.tar     1.0 MiB  1970-01-01 00:00  fw-a      7.4.1 (Build 172)\n\
         x.tar.part  10 bytes  1970-01-01 00:00            download that has not ended\n"
    );
    assert_eq!(
        agent.run(&["-c", "show restore history"], b"").1,
        "Ended (UTC)       Job      Result             Generation  By     Source\n\
         1970-01-01 00:00  restore  failed (declined)  1 to 2      admin  backup fw-a.tar\n\
         1970-01-01 00:00  restore  succeeded          1 to 2      admin  backup fw-a.tar\n"
    );
}

#[test]
fn a_bundle_is_listed_with_the_archives_in_it() {
    let backups = json!([
        {"file": "edge.20260105080000.tar.gz", "bytes": 3145728, "modified": "1970-01-01T00:00:00Z", "partial": false,
         "details": null, "bundle": {"cluster": "edge", "archives": [
            {"file": "a_control_20260105080000.tar", "bytes": 1048576, "hostname": "a", "uuid": "1111", "role": "control",
             "created": "1970-01-01T00:00:00Z", "version": "7.4.1", "build": "172"},
            {"file": "b_data_20260105080000.tar", "bytes": 10, "hostname": "", "uuid": "", "role": "standalone",
             "created": null, "version": "", "build": "", "problem": "the archive is cut"},
         ]}},
        {"file": "x.tar.gz", "bytes": 10, "modified": "1970-01-01T00:00:00Z", "partial": false, "details": null,
         "problem": "the bundle x.tar.gz: the archive is cut"},
    ]);
    let agent = Agent::start(&[("GET /v1/backups", Reply::Json(200, backups))], vec![]);
    assert_eq!(
        agent.run(&["-c", "show backups"], b"").1,
        "File                                Size  Date (UTC)        Hostname  Version\n\
         edge.20260105080000.tar.gz       3.0 MiB  1970-01-01 00:00  edge      bundle of archives\n  \
         a_control_20260105080000.tar   1.0 MiB  1970-01-01 00:00  a         7.4.1 (Build 172), control\n  \
         b_data_20260105080000.tar     10 bytes                              not usable: the archive is cut\n\
         x.tar.gz                        10 bytes  1970-01-01 00:00            not usable: the bundle x.tar.gz: the archive is cut\n\
         `backup extract BUNDLE [NODE]` takes archives out of a bundle.\n"
    );
}

#[test]
fn a_bundle_is_taken_apart_by_name_and_what_was_there_already_is_said() {
    let extracted = json!({
        "files": [{"file": "a_control_20260105080000.tar", "bytes": 1048576}],
        "there": [{"file": "b_data_20260105080000.tar", "bytes": 10}],
    });
    let agent = Agent::start(&[("POST /v1/backups/extract", Reply::Json(200, extracted))], vec![]);
    for (line, body) in [
        ("backup extract edge.tar.gz", json!({"bundle": "edge.tar.gz"})),
        ("back ext edge.tar.gz fw-a", json!({"bundle": "edge.tar.gz", "node": "fw-a"})),
    ] {
        let (exit, text) = agent.run(&["-c", line], b"");
        assert_eq!(exit, 0, "{text}");
        assert_eq!(
            text,
            "Backup a_control_20260105080000.tar is here now (1.0 MiB).\n\
             Backup b_data_20260105080000.tar is here already (10 bytes).\n"
        );
        assert_eq!(agent.changes().last().unwrap().body, body);
    }
    for (line, error) in [
        ("backup extract", "Syntax error: The command is not completed\n"),
        ("backup extract ../x.tar", "Syntax error: Illegal parameter\n"),
        ("backup extract a.tar b/c", "Syntax error: Illegal parameter\n"),
        ("backup extract a.tar b c", "Syntax error: Illegal command line\n"),
    ] {
        let (exit, text) = agent.run(&["-c", line], b"");
        assert!(exit == 2 && text.starts_with(error), "{line}: {text}");
    }
    assert_eq!(agent.changes().len(), 2);
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

#[test]
fn what_is_left_to_do_is_shown_at_each_login_until_it_is_acknowledged() {
    let mut now = status(None);
    now.last = Some(entry(Outcome::Succeeded));
    now.tasks = Some(tasks());
    let greeting = |now: &Status| {
        let replies = [
            ("GET /v1/status", Reply::Json(200, serde_json::to_value(now).unwrap())),
            ("POST /v1/tasks/acknowledge", Reply::Json(200, json!({}))),
        ];
        let agent = Agent::start(&replies, vec![]);
        let (exit, text) = agent.run(&[], b"conf tasks ack\n");
        assert_eq!(exit, 0, "{text}");
        let routes: Vec<_> = agent.changes().into_iter().map(|asked| asked.route).collect();
        assert_eq!(routes, ["POST /v1/tasks/acknowledge"]);
        text
    };
    let text = greeting(&now);
    assert_eq!(
        text,
        "Last restore: succeeded, 1970-01-01 00:00:00 UTC. `show restore` has the details.\n\
         To be done after the restore of 1970-01-01 00:00:00 UTC:\n\
         \x20 - Licence this unit.\n\
         \x20 - vpn: /etc/swanctl/x509/site-a.pem was taken off; enrol it again\n\
         `configure tasks acknowledge` ends this reminder.\n\
         > \nAcknowledged. `show restore` tells by whom.\n> \n"
    );
    now.tasks = Some(Tasks {
        acknowledged: Some(Acknowledged { by: "alice".into(), at: Timestamp::UNIX_EPOCH }),
        ..tasks()
    });
    let text = greeting(&now);
    assert!(!text.contains("Licence") && text.starts_with("Last restore: succeeded"), "{text}");
    let agent =
        Agent::start(&[("GET /v1/status", Reply::Json(200, serde_json::to_value(now).unwrap()))], vec![]);
    let (_, text) = agent.run(&["-c", "show restore"], b"");
    assert!(text.contains("  - Licence this unit.\n"), "{text}");
    assert!(text.contains("Acknowledged by alice, 1970-01-01 00:00:00 UTC.\n"), "{text}");
}

#[test]
fn the_ha_engine_is_resumed_by_one_command_and_a_refusal_says_why() {
    let agent = Agent::start(&[("POST /v1/ha/resume", Reply::Json(200, json!({})))], vec![]);
    let (exit, text) = agent.run(&["-c", "conf high resume"], b"");
    assert_eq!((exit, text.as_str()), (0, "Resumed. `show restore lock` tells the state of each member.\n"));
    let routes: Vec<_> = agent.changes().into_iter().map(|asked| asked.route).collect();
    assert_eq!(routes, ["POST /v1/ha/resume"]);
    let refused = Failure::new(Code::NotFound, "this appliance is in no HA group").hint("configure one");
    let refusal = Reply::Json(409, json!({"failures": [refused]}));
    let agent = Agent::start(&[("POST /v1/ha/resume", refusal)], vec![]);
    let (exit, text) = agent.run(&["-c", "configure high-availability resume"], b"");
    assert_eq!(exit, 1, "{text}");
    assert_eq!(text, "Error: this appliance is in no HA group [not-found]\n       configure one\n");
}

#[test]
fn a_manager_that_was_not_told_is_said_at_login_and_by_show_managers_and_show_restore() {
    let mut now = status(None);
    now.last = Some(entry(Outcome::Succeeded));
    now.checkin = Some(untold());
    let manager = json!([{"host": "fmc", "name": "", "device_uuid": "1", "state": "Completed",
                          "checkin": untold()}]);
    let agent = Agent::start(
        &[
            ("GET /v1/status", Reply::Json(200, serde_json::to_value(now).unwrap())),
            ("GET /v1/managers", Reply::Json(200, manager)),
        ],
        vec![],
    );
    let (_, text) = agent.run(&[], b"exit\n");
    assert!(text.contains("The manager is not told of the restore yet [manager-refused]."), "{text}");
    for command in ["show managers", "show restore"] {
        let (_, text) = agent.run(&["-c", command], b"");
        for line in [
            "Check-in                  : the manager is to be told since 1970-01-01 00:00:00 UTC\n",
            "Last attempt              : 1970-01-01 00:01:00 UTC, attempt 3: the manager fmc answered 404 Not Found \
             [manager-refused]\n",
            "Hint                      : look there\n",
            "Next attempt              : 1970-01-01 00:02:00 UTC\n",
        ] {
            assert!(text.contains(line), "{command}: {line}: {text}");
        }
    }
}

#[test]
fn a_configuration_that_is_broken_is_what_a_login_and_show_restore_tell_first() {
    let why = vec![failure(Code::ConfigurationBroken, "neither could be made whole", "")];
    let mut now =
        status(Some(JobView { outcome: Some(Outcome::Broken { failures: why }), ..job(Phase::Activating) }));
    now.last = Some(entry(Outcome::Succeeded));
    let agent =
        Agent::start(&[("GET /v1/status", Reply::Json(200, serde_json::to_value(now).unwrap()))], vec![]);
    let (_, text) = agent.run(&[], b"exit\n");
    assert!(text.starts_with("Last restore: broken. `show restore` has the details.\n"), "{text}");
    let (_, text) = agent.run(&["-c", "show restore"], b"");
    assert!(text.contains("[configuration-broken]\n") && !text.contains("succeeded"), "{text}");
}
