//! Many sessions, long ones, and guesses: the console stays usable.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::{ADMIN, Login, Session};

use super::attempt::by;
use super::{PATIENCE, SHELL, assert_usable, own, own_of, prompted, session, shared, wait_until};

/// The shell on the appliance's own terminal, as getty starts it.
fn console(login: &Login) -> Session {
    let mut shell = by(login, ADMIN, SHELL);
    shell.env("TERM", "vt220");
    let mut session = Session::of(&shell, 25, 80);
    prompted(&mut session);
    session
}

const LIMIT: &str = "32 SSH sessions are open, of at most 32: admin gets none [too-many-sessions]";

#[test]
fn a_hundred_sessions_take_neither_the_console_nor_the_appliance() {
    let (login, client) = own();
    let mut console = console(&login);
    let (mut open, mut refused) = (Vec::new(), 0);
    for round in 0..20 {
        // As many at once as the server takes without dropping one by chance.
        let batch: Vec<Session> = (0..5).map(|_| Session::open(&client, 24, 80)).collect();
        for mut session in batch {
            let mut answered = || {
                let _ = session.read_until("\0", Duration::from_millis(20));
                [session.unread().ends_with("> "), session.unread().contains("Error:")]
            };
            wait_until("an answer", || answered().contains(&true));
            if answered()[0] {
                open.push(session);
                continue;
            }
            session.read_until(LIMIT, PATIENCE).unwrap();
            session.read_until("end one of them, or log in on the console", PATIENCE).unwrap();
            assert!(session.ended(PATIENCE).is_some_and(|status| status.code() == Some(1)));
            refused += 1;
        }
        if round % 5 == 4 {
            assert_usable(&mut console);
        }
    }
    assert_eq!((open.len(), refused), (32, 68));
    let said = client.ssh(&[], &["show version"]);
    assert!(said.status == Some(1) && said.out.contains("[too-many-sessions]"), "{said:?}");
    // Those that are there go on, and another console comes too.
    assert_usable(&mut open[0]);
    assert_usable(&mut open[31]);
    assert_usable(&mut self::console(&login));
    drop(open);
    wait_until("a place", || client.ssh(&[], &["show version"]).ok());
    let again: Vec<Session> = (0..4).map(|_| session(&client)).collect();
    assert_eq!(again.len(), 4);
    assert_usable(&mut console);
}

#[test]
fn one_connection_opens_four_sessions_and_no_fifth() {
    let (_login, client) = own();
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("control");
    let control = format!("ControlPath={}", path.display());
    let mut master = client
        .command("ssh")
        .args(["-N", "-o", "ControlMaster=yes", "-o", &control, "appliance"])
        .spawn()
        .unwrap();
    wait_until("the control socket", || path.exists());
    let mut sessions: Vec<Session> = (0..4)
        .map(|_| {
            let mut ssh = client.command("ssh");
            ssh.args(["-tt", "-o", &control, "appliance"]).env("TERM", "xterm");
            let mut session = Session::of(&ssh, 24, 80);
            prompted(&mut session);
            session
        })
        .collect();
    let output = client
        .command("ssh")
        .args([
            "-v",
            "-S",
            path.to_str().unwrap(),
            "-o",
            "ControlMaster=no",
            "-o",
            "ProxyCommand=false",
            "appliance",
            "show version",
        ])
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("refused by peer"), "{output:?}");
    sessions.iter_mut().for_each(assert_usable);
    master.kill().unwrap();
    master.wait().unwrap();
}

#[test]
fn connections_that_never_log_in_leave_the_console_usable_and_are_not_all_kept() {
    let (login, client) = own();
    let mut console = console(&login);
    let mut waiting: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(login.door()).unwrap()).collect();
    let mut kept = 0;
    for stream in &mut waiting {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that takes it greets; one that does not ends it, some with a sentence.
        let mut greeting = [0; 4];
        kept += usize::from(stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-");
    }
    assert!((10..=40).contains(&kept), "{kept} of 80 are kept");
    assert_usable(&mut console);
    drop(waiting);
    wait_until("a login", || client.ssh(&[], &["show version"]).ok());
}

#[test]
fn a_password_is_guessed_four_times_at_most_on_one_connection() {
    let login = shared();
    let client = login.client_with_password(ADMIN, "wrong");
    let said = client.ssh(
        &["-o", "NumberOfPasswordPrompts=10", "-o", "KbdInteractiveAuthentication=no", "-v"],
        &["show version"],
    );
    assert_eq!(said.status, Some(255), "{said:?}");
    let guesses = said.err.matches("Authentications that can continue").count();
    assert!(
        (4..=5).contains(&guesses) && said.err.contains("Too many authentication failures"),
        "{guesses}: {}",
        said.err
    );
}

fn soon_idle() -> Appliance {
    Appliance::replacement().profile_override("[sessions]\nidle = 2\n")
}

#[test]
fn a_session_in_which_nothing_is_typed_ends() {
    let (login, client) = own_of(&soon_idle());
    let mut session = session(&client);
    let begun = Instant::now();
    // A key in time keeps it, whatever key it is.
    while begun.elapsed() < Duration::from_secs(4) {
        session.write("\u{1}");
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_usable(&mut session);
    session.read_until("nothing was typed for too long", PATIENCE).unwrap();
    assert!(session.ended(PATIENCE).is_some());
    wait_until("the end of the session", || super::agent_log(&login).contains("session ended"));
}

#[test]
fn a_session_that_waits_for_a_password_ends() {
    let (login, client) = own_of(&soon_idle());
    let mut session = session(&client);
    session.write("configure password\r");
    session.read_until("Enter new password: ", PATIENCE).unwrap();
    session.write("half a pass");
    assert!(session.ended(PATIENCE).is_some(), "{:?}", session.unread());
    assert!(
        !session.unread().contains("half a pass") && !super::agent_log(&login).contains("POST /v1/configure")
    );
}

#[test]
fn a_session_at_the_pager_ends() {
    let (_login, client) = own_of(&soon_idle());
    let mut session = Session::open(&client, 10, 80);
    prompted(&mut session);
    session.write("help\r");
    session.read_until("--More--", PATIENCE).unwrap();
    assert!(session.ended(PATIENCE).is_some(), "{:?}", session.unread());
}

#[test]
fn a_session_on_the_console_ends_too() {
    let (login, _client) = own_of(&soon_idle());
    let mut console = console(&login);
    assert!(console.ended(PATIENCE).is_some(), "{:?}", console.unread());
    assert!(console.unread().contains("nothing was typed for too long"));
}

#[test]
fn a_session_of_which_a_line_is_half_typed_runs_no_half_line() {
    let (login, client) = own_of(&soon_idle());
    let mut session = session(&client);
    session.write("restore factory");
    assert!(session.ended(PATIENCE).is_some(), "{:?}", session.unread());
    assert!(login.machine.status().unwrap().job.is_none());
}

#[test]
fn an_agent_that_is_not_there_opens_nothing_else() {
    let (login, client) = own();
    login.machine.kill9();
    let mut session = session(&client);
    session.write("show version\r");
    session.read_until("[agent-unreachable]", PATIENCE).unwrap();
    session.write("expert\r");
    session.read_until("[agent-unreachable]", PATIENCE).unwrap();
    let said = client.ssh(&[], &["expert"]);
    assert!(said.status == Some(3) && said.out.contains("[agent-unreachable]"), "{said:?}");
    session.write("exit\r");
    assert!(session.ended(PATIENCE).is_some());
}
