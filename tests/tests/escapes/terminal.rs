//! What is typed, and the terminal that it is typed on.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use reinstate_tests::login::{ADMIN, Session};

use super::attempt::Mark;
use super::processes::shell_of;
use super::{PATIENCE, PROMPT, assert_usable, own, prompted, say, session, shared};

/// The line is answered by a syntax error, and the session goes on.
fn not_understood(bytes: &[u8]) {
    let login = shared();
    let client = login.client(ADMIN);
    let mut session = session(&client);
    session.type_bytes(bytes);
    session.write("\r");
    session.read_until("Syntax error: ", PATIENCE).unwrap();
    session.read_until(PROMPT, PATIENCE).unwrap();
    assert_usable(&mut session);
}

#[test]
fn invalid_utf_8_becomes_no_command() {
    not_understood(b"show version\xff");
    not_understood(b"\xc3(show version");
    not_understood(b"show\xf0\x9f\x98 version");
}

#[test]
fn invalid_utf_8_without_a_terminal_becomes_no_command() {
    let login = shared();
    let said = login.client(ADMIN).ssh_with(&["-T"], &[], b"show version\xff\n\xfe\xfe\nshow model\n");
    assert_eq!(said.out.matches("Syntax error").count(), 2, "{said:?}");
    assert!(said.ok() && !said.out.contains("UUID"), "{said:?}");
}

#[test]
fn a_nul_is_no_end_of_a_line() {
    let (login, mark) = (shared(), Mark::new());
    let client = login.client(ADMIN);
    let said = client.ssh_with(&["-T"], &[], format!("show version\0{}\n\0\0\n", mark.touch()).as_bytes());
    assert!(said.out.matches("Syntax error").count() == 2 && !said.out.contains("UUID"), "{said:?}");
    let mut session = session(&client);
    session.type_bytes(b"show\0 version\0\r");
    session.read_until(PROMPT, PATIENCE).unwrap();
    assert_usable(&mut session);
    mark.assert_none();
}

#[test]
fn a_line_of_a_mebibyte_is_one_line_and_no_command() {
    let (login, client) = own();
    let mut session = session(&client);
    let shell = shell_of(&login);
    let mut line = b"show version ".to_vec();
    line.resize(1 << 20, b'x');
    session.type_bytes(&line);
    session.write("\r");
    session.read_until("Syntax error: ", Duration::from_secs(120)).unwrap();
    session.read_until(PROMPT, PATIENCE).unwrap();
    assert_usable(&mut session);
    assert_eq!(shell_of(&login), shell);
    let status = std::fs::read_to_string(format!("/proc/{shell}/status")).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let most: u64 = most.unwrap().parse().unwrap();
    assert!(most < 32 << 10, "{most} KiB");
}

#[test]
fn a_line_of_a_mebibyte_without_a_terminal_is_no_command() {
    let login = shared();
    let mut input = b"show version ".to_vec();
    input.resize(1 << 20, b'x');
    input.extend(b"\nshow model\n");
    let said = login.client(ADMIN).ssh_with(&["-T"], &[], &input);
    assert!(said.ok() && said.out.matches("Syntax error").count() == 1, "{:?}", said.out.len());
    assert!(said.out.len() < 10_000 && said.out.contains("Model"), "{} bytes", said.out.len());
}

#[test]
fn an_argument_of_a_hundred_kilobytes_is_no_command() {
    let login = shared();
    let said = login.client(ADMIN).ssh(&[], &[&format!("show version {}", "x".repeat(100_000))]);
    assert_eq!(said.status, Some(2), "{}", said.out.len());
}

#[test]
fn escape_sequences_without_an_end_hold_nothing_up() {
    let login = shared();
    let client = login.client(ADMIN);
    for bytes in [
        [b"\x1b[".to_vec(), vec![b'1'; 50_000]].concat(),
        [b"\x1b]0;".to_vec(), vec![b'x'; 5_000]].concat(),
        b"\x1b".repeat(5_000),
        b"\x1b[200~".repeat(1000),
        b"\x1bP$q\x1b\\\x1b[c\x1b[6n\x1b[21t\x1b[?1049h".repeat(100),
    ] {
        let mut session = session(&client);
        session.type_bytes(&bytes);
        session.write("\u{1}\u{b}\r");
        session.read_until("\r\n", PATIENCE).unwrap();
        // An escape may have taken the first key after it.
        session.write("\r\r");
        assert_usable(&mut session);
    }
}

#[test]
fn answers_of_a_terminal_to_questions_are_typed_as_no_command() {
    let login = shared();
    let client = login.client(ADMIN);
    let mut session = session(&client);
    session.type_bytes(b"\x1b[?62;c\x1b[24;80R\x1b]11;rgb:0000/0000/0000\x07");
    session.write("\u{1}\u{b}");
    assert_usable(&mut session);
}

#[test]
fn keys_that_stop_a_program_stop_no_shell() {
    let (login, client) = own();
    let mut session = session(&client);
    let shell = shell_of(&login);
    for key in [
        "\u{1a}", "\u{1c}", "\u{3}", "\u{13}", "\u{11}", "\u{19}", "\u{16}", "\u{f}", "\u{1d}", "\u{1e}",
        "\u{1f}",
    ] {
        session.write(key);
        session.write("\u{1}\u{b}");
        assert_usable(&mut session);
        assert_eq!(shell_of(&login), shell);
    }
}

#[test]
fn keys_that_open_an_editor_elsewhere_open_none() {
    let (login, client) = own();
    let mut session = session(&client);
    let shell = shell_of(&login);
    // As readline, vi and less have it.
    for keys in
        ["\u{18}\u{5}", "\u{1b}v", "\u{1b}!", "\u{1b}:!sh\r", "\u{18}\u{18}", "\u{1b}\u{5}", "!!\r", "^a^b\r"]
    {
        session.write(keys);
        session.write("\u{1}\u{b}\r");
        assert_usable(&mut session);
        assert_eq!(shell_of(&login), shell, "{keys:?}");
    }
    assert!(!session.unread().contains('$'), "{:?}", session.unread());
}

#[test]
fn keys_in_the_pager_start_nothing() {
    let (login, mark) = (shared(), Mark::new());
    let client = login.client(ADMIN);
    let mut session = Session::open(&client, 10, 80);
    prompted(&mut session);
    session.write("help\r");
    session.read_until("--More--", PATIENCE).unwrap();
    session.write(&format!("v!{}\u{1b}:e|s&-", mark.touch().replace(['q', ' ', '/', 'Q'], "")));
    session.write(&format!("/!{}\r", mark.touch()));
    session.read_until("Pattern not found", PATIENCE).unwrap();
    session.write("q");
    session.read_until("> ", PATIENCE).unwrap();
    session.write("show version\r");
    session.read_until("Version 7.4.1", PATIENCE).unwrap();
    mark.assert_none();
}

#[test]
fn a_terminal_of_any_size_shows_a_session() {
    let login = shared();
    let client = login.client(ADMIN);
    for (rows, columns) in [(1, 1), (0, 0), (1000, 500), (2, 2), (1, 80), (24, 1), (u16::MAX, u16::MAX)] {
        let mut session = Session::open(&client, rows, columns);
        prompted(&mut session);
        session.write("show backups\r");
        // Page by page where it has to be, and broken wherever the terminal ends.
        let end = std::time::Instant::now() + PATIENCE;
        let mut said = String::new();
        while !said.ends_with("\n> ") {
            assert!(std::time::Instant::now() < end, "{rows}x{columns}: {said:?}");
            said += &session.read_until("\n", Duration::from_millis(100)).unwrap_or_default();
            if session.unread().ends_with("--More--") {
                session.write(" ");
            }
            if session.unread() == "> " {
                said += "> ";
                said = format!("\n{said}").replace("\n\n> ", "\n> ");
                break;
            }
        }
        assert!(
            said.contains("no backups") || said.replace(['\r', '\n'], "").contains("backups"),
            "{rows}x{columns}: {said:?}"
        );
    }
}

#[test]
fn a_terminal_that_changes_its_size_all_the_time_keeps_its_session() {
    let login = shared();
    let client = login.client(ADMIN);
    let mut session = session(&client);
    session.write("restore remote-manager-backup location ");
    for (rows, columns) in [(1, 1), (0, 0), (1000, 500), (24, 80), (5, 3), (60, 20), (24, 511)] {
        session.resize(rows, columns);
        session.write("x");
        std::thread::sleep(Duration::from_millis(30));
    }
    session.resize(1000, 511);
    session.write("\u{1}\u{b}\r");
    session.read_until(PROMPT, PATIENCE).unwrap();
    assert_usable(&mut session);
}

#[test]
fn a_session_without_a_terminal_runs_lines_and_ends_with_them() {
    let login = shared();
    let said = login.client(ADMIN).ssh_with(&["-T"], &[], b"show version\nsh\nshow model\n");
    assert!(said.ok() && said.out.contains("UUID") && said.out.contains("Syntax error"), "{said:?}");
    super::assert_plain(&said.out);
}

#[test]
fn a_session_whose_input_is_closed_at_once_ends() {
    let (login, client) = own();
    // Of a terminal there is no end: there the idle time ends it.
    {
        let mut ssh = client
            .command("ssh")
            .args(["-T", "appliance"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        ssh.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("> ") && !said.contains('$'), "{said:?}");
        ssh.wait().unwrap();
    }
    let log = super::agent_log(&login);
    assert!(log.contains("session ended"), "{log}");
}

#[test]
fn an_input_that_ends_in_the_middle_of_a_question_answers_it_with_no() {
    let (login, client) = own();
    for command in ["reboot", "shutdown", "restore factory", "restore rollback"] {
        for input in [&b""[..], b"\xff\n", b"maybe\nmaybe\nmaybe\n", b"Y\0\n"] {
            let said = client.ssh_with(&[], &[command], input);
            assert_eq!(said.status, Some(1), "{command} {input:?}: {said:?}");
            let _ = client.ssh(&[], &["restore abort"]);
            login.machine.wait_until_idle().unwrap();
        }
    }
    assert_eq!(login.machine.reboots(), 0);
    assert!(login.machine.daemon().is_some());
}

#[test]
fn a_client_that_reads_nothing_holds_up_nobody_else() {
    let (_login, client) = own();
    let mut deaf = client
        .command("ssh")
        .args(["-tt", "appliance"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    use std::io::Write;
    let mut input = deaf.stdin.take().unwrap();
    let typing = std::thread::spawn(move || {
        for _ in 0..2000 {
            if input.write_all(b"help\r     ").is_err() {
                return;
            }
        }
    });
    let mut session = session(&client);
    assert_usable(&mut session);
    assert!(say(&mut session, "show users").contains("admin"));
    deaf.kill().unwrap();
    deaf.wait().unwrap();
    typing.join().unwrap();
}

#[test]
fn noise_of_every_byte_leads_out_of_no_session() {
    let (login, client) = own();
    let mut session = session(&client);
    let shell = shell_of(&login);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let noise: Vec<u8> = (0..100_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        // The end of the input is one.
        .filter(|byte| *byte != 4)
        .collect();
    session.type_bytes(&noise);
    session.write("\r\r\u{1}\u{b}\r");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(shell_of(&login), shell, "{:?}", session.unread());
    assert_usable(&mut session);
    assert_eq!(login.machine.reboots(), 0);
}
