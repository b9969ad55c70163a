//! The shell on a real terminal.

use std::io::Write;

use crate::agent::*;
use crate::pty::Terminal;
use jiff::Timestamp;
use reinstate_api::*;
use serde_json::json;

fn restore(steps: Vec<Step>) -> Agent {
    let idle = Reply::Json(200, serde_json::to_value(status(None)).unwrap());
    Agent::start(&[("GET /v1/status", idle), ("GET /v1/managers", Reply::Json(200, json!([])))], steps)
}

#[test]
fn a_password_is_never_shown_and_the_restart_ends_the_session() {
    for term in ["vt100", "dumb"] {
        let agent = restore(vec![
            say(password(1)),
            Step::Await("POST /v1/answer", 1),
            say(confirm(2)),
            Step::Await("POST /v1/answer", 2),
            say(job(Phase::Rebooting)),
            Step::Hold,
        ]);
        let mut terminal = Terminal::open(&agent, term);
        terminal.expect("> ");
        // An editor echoes by itself; without one the terminal does.
        assert_eq!(terminal.echoes(), term == "dumb");
        terminal.send("restore remote-manager-backup fw-a.tar\r");
        terminal.expect("admin@192.0.2.9's password: ");
        assert!(!terminal.echoes());
        terminal.send("correct horse\r");
        let shown = terminal.expect("Are you sure you want to continue (Y/N): ");
        assert!(!shown.contains("horse"), "{shown}");
        assert!(shown.contains("\r\nModel = VFW-100\r\n"), "{shown}");
        assert_eq!(terminal.echoes(), term == "dumb");
        terminal.send("Y\r");
        terminal.expect("Y\r\n");
        terminal.expect("The system is going down for reboot NOW!\r\n");
        let bodies: Vec<_> = agent.changes().into_iter().map(|asked| asked.body["answer"].clone()).collect();
        assert_eq!(bodies[1..], [json!({"secret": "correct horse"}), json!("yes")]);
        assert_eq!(terminal.exit(), Some(0));
    }
}

#[test]
fn ctrl_c_returns_to_the_prompt_even_from_a_password() {
    let agent = restore(vec![say(password(1)), Step::Hold]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("restore remote-manager-backup fw-a.tar\r");
    terminal.expect("password: ");
    terminal.send("half\u{3}");
    terminal.expect("Watching stopped; the job goes on.");
    terminal.expect("> ");
    assert!(!terminal.echoes(), "the editor reads key by key and echoes by itself");
    terminal.send("show managers\r");
    terminal.expect("No managers configured.\r\n");
    terminal.send("exit\r");
    assert_eq!(terminal.exit(), Some(0));
    assert_eq!(agent.changes().len(), 1, "nothing but the start was asked");
}

#[test]
fn a_terminal_that_cannot_is_sent_no_escape_sequence() {
    let agent = restore(vec![]);
    let mut terminal = Terminal::open(&agent, "dumb");
    assert_eq!(terminal.expect("> "), "\r\n");
    terminal.send("show managers\r");
    assert_eq!(terminal.expect("\r\n> "), "show managers\r\nNo managers configured.");
    terminal.send("\u{3}");
    assert_eq!(terminal.expect("\r\n> "), "^C");
    terminal.send("logout\n");
    assert_eq!(terminal.exit(), Some(0));
}

#[test]
fn an_editing_terminal_echoes_what_is_typed_and_nothing_else() {
    let agent = restore(vec![]);
    let mut terminal = Terminal::open(&agent, "xterm");
    assert_eq!(terminal.expect("> "), "\r\n");
    for key in "show managers".chars() {
        terminal.send(&key.to_string());
        assert_eq!(terminal.expect(&key.to_string()), "");
    }
    terminal.send("\r");
    assert_eq!(terminal.expect("\r\n> "), "\r\nNo managers configured.");
    // The line that many clients clear a line with before they type.
    terminal.send("\u{1}\u{b}");
    terminal.send("show managers\n");
    assert_eq!(terminal.expect("\r\n> "), "show managers\r\nNo managers configured.");
    terminal.send("\u{4}");
    assert_eq!(terminal.exit(), Some(0));
}

#[test]
fn tab_and_a_space_typed_by_hand_complete_what_is_certain() {
    let agent = restore(vec![]);
    let mut terminal = Terminal::open(&agent, "xterm");
    terminal.expect("> ");
    terminal.send("sho");
    terminal.expect("sho");
    terminal.send(" ");
    terminal.expect("w ");
    terminal.send("man\t");
    assert_eq!(terminal.expect("agers "), "man");
    terminal.send("\r");
    terminal.expect("No managers configured.\r\n> ");
    // Of a line that comes at once nothing is completed: whoever sent it waits for its echo.
    terminal.send("sho man\r");
    assert_eq!(terminal.expect("\r\n"), "sho man");
    terminal.expect("\r\n> ");
    terminal.send("show re");
    terminal.expect("show re");
    terminal.send("\t\r");
    terminal.expect("store ");
    terminal.expect("> ");
}

#[test]
fn a_question_mark_acts_at_once_and_the_line_is_there_again() {
    let agent = restore(vec![]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("show man");
    terminal.expect("show man");
    terminal.send("?");
    terminal.expect("\r\n  managers                The manager of this appliance\r\n");
    assert_eq!(terminal.expect("> show man"), "");
    terminal.send("agers ?");
    let shown = terminal.expect("> show managers ");
    assert!(shown.contains("  <cr>                    Run the command\r\n"), "{shown}");
    terminal.send("\r");
    terminal.expect("No managers configured.\r\n> ");
    // In a quoted word it is a character.
    terminal.send("show \"a?b\"\r");
    terminal.expect("Illegal command line");
}

#[test]
fn a_question_mark_asks_about_what_stands_before_the_cursor_which_stays() {
    let agent = restore(vec![]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("show managers\u{1}\u{1b}[C\u{1b}[C?");
    let shown = terminal.expect("> show managers");
    assert!(shown.contains("  show ") && shown.contains("  shutdown "), "{shown}");
    terminal.send("o\r");
    terminal.expect("shoow managers");
}

#[test]
fn ctrl_c_takes_back_what_was_typed_before_it() {
    let idle = Reply::Json(200, serde_json::to_value(status(None)).unwrap());
    let answer = Reply::Json(200, json!({ "address": "192.0.2.9", "time": 0.5 }));
    let agent = Agent::start(&[("GET /v1/status", idle), ("POST /v1/ping", answer)], vec![]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    // It comes at once, as what is pasted does: the second line is read with the first.
    terminal.send("ping 192.0.2.9 1000\rbackup delete a\r");
    terminal.expect("Answer from 192.0.2.9: sequence 1");
    terminal.send("\u{3}");
    terminal.expect("0% lost");
    terminal.expect("> ");
    terminal.send("exit\r");
    assert_eq!(terminal.exit(), Some(0));
    let asked = agent.changes();
    assert!(asked.iter().all(|asked| asked.route == "POST /v1/ping"), "{asked:?}");
}

#[test]
fn nothing_that_was_typed_ahead_becomes_a_password_or_a_command() {
    let agent = restore(vec![say(password(1)), Step::Hold]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("restore remote-manager-backup fw-a.tar\rbackup delete a\rrestore abort\r");
    terminal.expect("password: ");
    terminal.send("\u{3}");
    terminal.expect("Watching stopped; the job goes on.");
    terminal.expect("> ");
    terminal.send("show managers\r");
    terminal.expect("No managers configured.\r\n");
    assert_eq!(agent.changes().len(), 1, "{:?}", agent.changes());
}

#[test]
fn a_byte_that_is_no_text_keeps_no_line_from_ending() {
    let agent = restore(vec![]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.keys.write_all(b"show managers \xe9\r").unwrap();
    terminal.expect("Syntax error: Illegal command line\r\n");
    terminal.expect("> ");
    terminal.send("show managers\r");
    terminal.expect("No managers configured.\r\n");
}

#[test]
fn the_line_is_edited_with_the_keys_that_everybody_knows() {
    let agent = restore(vec![]);
    let mut terminal = Terminal::open(&agent, "xterm");
    terminal.expect("> ");
    for typed in [
        "shxow\u{1b}[D\u{1b}[D\u{7f}\u{5} managers\r",
        "managers\u{1}show \r",
        "nothing\u{15}show managers\r",
        "show nothing\u{17}managers\r",
        "show managersxx\u{1b}[D\u{1b}[D\u{b}\r",
        "\u{1b}[A\r",
        "wrong\u{10}\u{e}\u{15}\u{10}\r",
    ] {
        terminal.send(typed);
        terminal.expect("\r\nNo managers configured.\r\n> ");
    }
    terminal.send("half");
    terminal.expect("half");
    terminal.send("\u{3}");
    terminal.expect("^C\r\n> ");
    terminal.send("show man\u{c}");
    terminal.expect("\u{1b}[H\u{1b}[2J> show man");
    terminal.send("agers\r");
    terminal.expect("No managers configured.\r\n> ");
}

#[test]
fn only_what_is_longer_than_the_terminal_is_shown_by_pages() {
    let lines: Vec<String> = (1..=60).map(|i| format!("line {i} of the log")).collect();
    let log = Reply::Json(200, json!({ "lines": lines }));
    let idle = Reply::Json(200, serde_json::to_value(status(None)).unwrap());
    let agent = Agent::start(&[("GET /v1/log?lines=1000", log), ("GET /v1/status", idle)], vec![]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("show log restore\r");
    let first = terminal.expect("--More--");
    assert!(first.ends_with("line 23 of the log\r\n"), "{first}");
    terminal.send("\r");
    assert_eq!(terminal.expect("--More--"), "\r        \rline 24 of the log\r\n");
    terminal.send(" ");
    assert!(terminal.expect("--More--").ends_with("line 47 of the log\r\n"));
    terminal.send("/");
    terminal.expect("/");
    terminal.send("5[0-9]\r");
    let found = terminal.expect("line 60 of the log\r\n> ");
    assert!(found.contains("line 50 ") && !found.contains("line 48 "), "{found}");
    terminal.send("show log restore\r");
    terminal.expect("--More--");
    terminal.send("q");
    assert!(!terminal.expect("> ").contains("line"));
    terminal.send("show log restore | include 2[0-9]\r");
    assert_eq!(terminal.expect("> ").matches(" of the log").count(), 10);
    terminal.send("show log restore | count\r");
    terminal.expect("Count: 60 lines\r\n> ");
}

#[test]
fn keys_that_come_faster_than_the_pages_are_for_the_pager() {
    let agent = Agent::start(&[], vec![]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("help\r");
    terminal.expect("--More--");
    terminal.send("  q");
    let pages = terminal.expect("\n> ");
    assert_eq!(pages.matches("--More--").count(), 2, "{pages}");
    terminal.send("exit\r");
    let left = terminal.expect("exit\r\n");
    assert_eq!(left, "", "nothing of it is in the next line");
}

/// An agent whose job is shown in this state.
fn with(job: JobView, steps: Vec<Step>) -> Agent {
    let now = Reply::Json(200, serde_json::to_value(status(Some(job))).unwrap());
    Agent::start(&[("GET /v1/status", now)], steps)
}

#[test]
fn a_job_that_is_looked_at_is_shown_as_it_goes_on() {
    let agent = with(job(Phase::Receiving), vec![say(job(Phase::Validating)), Step::Hold]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("show restore\r");
    terminal.expect("Phase ");
    terminal.expect("Checking the new configuration\r\n");
    terminal.send("\u{3}");
    terminal.expect("Watching stopped; the job goes on.");
}

#[test]
fn what_waits_to_be_confirmed_is_shown_and_not_waited_for() {
    let waits = JobView { confirm_until: Some(Timestamp::UNIX_EPOCH), ..job(Phase::Finishing) };
    let agent = with(waits, vec![Step::Hold]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("show restore\r");
    terminal.expect("It has to be confirmed: `restore confirm`");
    terminal.expect("\r\n> ");
    let (status, text) = agent.run(&["-c", "show restore"], b"");
    assert_eq!(status, 0, "{text}");
}

#[test]
fn a_session_without_a_key_ends_by_itself() {
    let idle = Session { idle: 1, ..usual() };
    let agent = Agent::start(&[("GET /v1/session?from=console", session(&idle))], vec![]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.expect("The session ends: nothing was typed for too long.\r\n");
    assert_eq!(terminal.exit(), Some(0));
}

#[test]
fn a_session_whose_terminal_goes_ends_quietly_and_the_job_goes_on() {
    let agent = restore(vec![say(password(1)), Step::Hold]);
    let mut terminal = Terminal::open(&agent, "vt100");
    terminal.expect("> ");
    terminal.send("restore remote-manager-backup fw-a.tar\r");
    terminal.expect("password: ");
    let child = &mut terminal.child;
    let shell = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    // `setsid --wait` forks only where it has to.
    let pid = shell.split_whitespace().next().map_or(child.id(), |pid| pid.parse().unwrap());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    exit_status(child);
    assert!(terminal.echoes(), "echo is on again");
    assert_eq!(agent.changes().len(), 1, "nothing but the start was asked");
}
