//! The shell as a process: what it starts, what it holds, and what others of its user may do to it.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reinstate_tests::login::{ADMIN, Login, Session};
use reinstate_tests::must;

use super::attempt::by;
use super::{PATIENCE, PROMPT, SHELL, assert_usable, own, prompted, say, session, wait_until};

fn text(pid: u32, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default()).into_owned()
}

pub fn environment_of(pid: u32) -> Vec<String> {
    let environment = text(pid, "environ");
    assert!(!environment.is_empty(), "process {pid} has ended, or has no environment");
    environment.split_terminator('\0').map(str::to_owned).collect()
}

fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The shells of a login's sessions.
fn shells(login: &Login) -> Vec<u32> {
    let here = format!(" 127.0.0.1 {}", login.door().port());
    let is_ours = |pid: &u32| {
        text(*pid, "cmdline").starts_with("-reinstate-shell\0")
            && text(*pid, "environ")
                .split('\0')
                .any(|line| line.starts_with("SSH_CONNECTION=") && line.ends_with(&here))
    };
    all().filter(is_ours).collect()
}

/// Of the one session that there is.
pub fn shell_of(login: &Login) -> u32 {
    let found = shells(login);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// Of a shell that was started on a terminal of this machine.
pub fn local_shell(session: &Session) -> u32 {
    let pid = session.id();
    assert!(text(pid, "cmdline").starts_with(SHELL), "{}", text(pid, "cmdline"));
    pid
}

/// What runs on the appliance as the admin, by its command line, without the server's own processes.
fn of_the_admin(login: &Login) -> BTreeSet<String> {
    let namespace = login.inside("/bin/readlink").arg("/proc/self/ns/mnt").output().unwrap();
    let namespace = String::from_utf8(namespace.stdout).unwrap();
    all()
        .filter(|pid| {
            let there = fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap_or_default();
            let admin = text(*pid, "status").lines().any(|line| line.starts_with("Uid:\t1000\t"));
            there.to_str() == Some(namespace.trim()) && admin
        })
        .map(|pid| text(pid, "cmdline").replace('\0', " ").trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with("sshd"))
        .collect()
}

fn children(pid: u32) -> Vec<u32> {
    let parent = format!("PPid:\t{pid}");
    all().filter(|other| text(*other, "status").lines().any(|line| line == parent)).collect()
}

#[test]
fn help_views_and_the_pager_are_shown_without_another_process() {
    let (login, client) = own();
    let mut session = Session::open(&client, 24, 80);
    prompted(&mut session);
    let shell = shell_of(&login);
    // From now on it can make neither a process nor a thread.
    must(by(&login, ADMIN, "/usr/bin/prlimit").args(["--pid", &shell.to_string(), "--nproc=0:0"]));
    let proved =
        by(&login, ADMIN, "/bin/sh").args(["-c", "ulimit -u 0; /bin/true & wait $!"]).output().unwrap();
    assert!(!proved.status.success() || !proved.stderr.is_empty(), "the limit limits nothing: {proved:?}");
    session.write("help\r");
    session.read_until("--More--", PATIENCE).unwrap();
    for key in ["v", "!", "e", "h", "|"] {
        session.write(key);
    }
    session.write("/network\r");
    session.read_until("network", PATIENCE).unwrap();
    session.read_until("--More--", PATIENCE).unwrap();
    session.write("q");
    session.read_until("> ", PATIENCE).unwrap();
    for line in
        ["show version", "show network", "show backups", "show users", "show disk", "show time", "history"]
    {
        session.write(&format!("{line}\r"));
        let (mut said, begun) = (String::new(), std::time::Instant::now());
        while !session.unread().ends_with("\r\n> ") {
            if session.unread().ends_with("--More--") {
                said += &session.read_until("--More--", PATIENCE).unwrap();
                session.write(" ");
            }
            // Nothing ends like this: it is a look.
            let _ = session.read_until("\0", std::time::Duration::from_millis(20));
            assert!(begun.elapsed() < PATIENCE, "{line}: {said:?} {:?}", session.unread());
        }
        said += &session.read_until("\r\n> ", PATIENCE).unwrap();
        assert!(said.contains("\r\n") && !said.contains("Error"), "{line}: {said:?}");
    }
    session.write("show ?");
    session.read_until("version", PATIENCE).unwrap();
    assert_eq!((shell_of(&login), children(shell)), (shell, vec![]));
    assert_eq!(fs::read_dir(format!("/proc/{shell}/task")).unwrap().count(), 1);
}

#[test]
fn a_session_holds_its_terminal_its_agent_and_no_other_file() {
    let (login, client) = own();
    let mut session = session(&client);
    assert_usable(&mut session);
    let shell = shell_of(&login);
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{shell}/fd")).unwrap() {
        let to = fs::read_link(entry.unwrap().path()).unwrap().display().to_string();
        kinds.insert(
            to.split([':', '[']).next().unwrap().trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
        );
    }
    let known: BTreeSet<String> = ["/dev/pts/", "anon_inode", "socket"].map(str::to_owned).into();
    assert_eq!(kinds, known);
    assert_eq!(fs::read_link(format!("/proc/{shell}/cwd")).unwrap().to_str(), Some("/home/admin"));
}

#[test]
fn a_session_leaves_no_core_and_gains_no_rights() {
    let (login, client) = own();
    let _session = session(&client);
    let shell = shell_of(&login);
    let limits = text(shell, "limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{limits}");
    let status = text(shell, "status");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
}

/// What a process of the same user is told where it reads of the shell's process.
fn refused(login: &Login, shell: u32, name: &str) {
    let own = by(login, ADMIN, "/bin/dd").args(["if=/proc/self/environ", "of=/dev/null"]).output().unwrap();
    assert!(own.status.success(), "no attempt: {own:?}");
    let path = format!("/proc/{shell}/{name}");
    let output = by(login, ADMIN, "/bin/dd")
        .arg(format!("if={path}"))
        .args(["of=/dev/null", "count=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("Permission denied"), "{path}: {said}");
}

#[test]
fn the_memory_of_a_session_is_not_read_by_its_user_s_other_processes() {
    let (login, client) = own();
    let mut session = session(&client);
    let shell = shell_of(&login);
    refused(&login, shell, "mem");
    refused(&login, shell, "maps");
    assert_usable(&mut session);
}

#[test]
fn the_environment_of_a_session_is_not_read_by_its_user_s_other_processes() {
    let (login, client) = own();
    let _session = session(&client);
    refused(&login, shell_of(&login), "environ");
}

#[test]
fn the_descriptors_of_a_session_are_not_opened_by_its_user_s_other_processes() {
    let (login, client) = own();
    let _session = session(&client);
    let shell = shell_of(&login);
    refused(&login, shell, "fd/0");
    let output = by(&login, ADMIN, "/bin/ls").arg(format!("/proc/{shell}/fd")).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
}

#[test]
fn a_session_is_not_traced_by_its_user_s_other_processes() {
    // ATTACH, SEIZE; first on a child of its own, which shows that it can.
    const TRACE: &str = "my $child = fork; if (!$child) { sleep 60; exit } select undef, undef, undef, 0.2; \
        for my $how (16, 0x4206) { $! = 0; my $of = $how == 16 ? $child : 0; \
        if ($of) { syscall(101, $how, $of, 0, 0) == 0 or die qq(no attempt: $!) } \
        $! = 0; print syscall(101, $how, $ARGV[0] + 0, 0, 0) == 0 ? qq(traced\\n) : ($! + 0) . qq(\\n) } kill 9, $child;";
    let (login, client) = own();
    let mut session = session(&client);
    let shell = shell_of(&login);
    let output = by(&login, ADMIN, "/usr/bin/perl").args(["-e", TRACE, &shell.to_string()]).output().unwrap();
    let eperm = nix::errno::Errno::EPERM as i32;
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{eperm}\n{eperm}\n"), "{output:?}");
    assert!(text(shell, "status").contains("TracerPid:\t0"));
    assert_usable(&mut session);
}

/// Sent by a process of the same user.
fn send(login: &Login, signal: Signal, pid: u32) {
    let name = signal.as_str().trim_start_matches("SIG");
    let output = by(login, ADMIN, "/bin/sh").args(["-c", &format!("kill -{name} {pid}")]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn signals_of_a_keyboard_leave_the_session_as_it_is() {
    let (login, client) = own();
    let mut session = session(&client);
    let shell = shell_of(&login);
    for signal in [
        Signal::SIGTSTP,
        Signal::SIGQUIT,
        Signal::SIGINT,
        Signal::SIGTSTP,
        Signal::SIGWINCH,
        Signal::SIGCHLD,
        Signal::SIGPIPE,
    ] {
        send(&login, signal, shell);
        session.write("\r");
        session.read_until("> ", PATIENCE).unwrap_or_else(|error| panic!("{signal}: {error}"));
        assert_eq!(shell_of(&login), shell, "{signal}");
        assert!(!text(shell, "status").contains("State:\tT"), "{signal} stops it");
    }
    while session.read_until(PROMPT, std::time::Duration::from_millis(500)).is_ok() {}
    assert_usable(&mut session);
}

#[test]
fn a_session_that_is_stopped_and_goes_on_is_still_this_shell() {
    let (login, client) = own();
    let mut session = session(&client);
    let shell = shell_of(&login);
    send(&login, Signal::SIGSTOP, shell);
    wait_until("a stop", || text(shell, "status").contains("State:\tT"));
    session.write("show version\r");
    assert!(session.read_until("UUID", std::time::Duration::from_millis(300)).is_err(), "it is not stopped");
    assert_eq!(of_the_admin(&login), BTreeSet::from(["-reinstate-shell".to_owned()]));
    send(&login, Signal::SIGCONT, shell);
    session.read_until("UUID", PATIENCE).unwrap();
}

/// The session ends, and nothing of the admin's is left.
fn ends_with(signal: Signal) {
    let (login, client) = own();
    let mut session = session(&client);
    let shell = shell_of(&login);
    send(&login, signal, shell);
    if signal == Signal::SIGSEGV {
        // The first has the runtime look at where it was, the second ends it.
        std::thread::sleep(std::time::Duration::from_millis(100));
        send(&login, signal, shell);
    }
    let status = session.ended(PATIENCE);
    assert!(status.is_some(), "{signal} does not end it");
    let left = session.unread();
    assert!(!left.contains('$') && !left.contains('#') && !left.contains("panicked"), "{signal}: {left:?}");
    wait_until("the end of the admin's processes", || of_the_admin(&login).is_empty());
    let output = login.inside("/usr/bin/find").args(["/home/admin", "-name", "*core*"]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(client.ssh(&[], &["show version"]).ok());
}

#[test]
fn a_hangup_ends_the_session_and_opens_nothing() {
    ends_with(Signal::SIGHUP);
}

#[test]
fn a_request_to_terminate_ends_the_session_and_opens_nothing() {
    ends_with(Signal::SIGTERM);
}

#[test]
fn a_user_s_signal_ends_the_session_and_opens_nothing() {
    ends_with(Signal::SIGUSR1);
}

#[test]
fn a_fault_ends_the_session_without_a_core() {
    ends_with(Signal::SIGSEGV);
}

#[test]
fn an_abort_ends_the_session_without_a_core() {
    ends_with(Signal::SIGABRT);
}

#[test]
fn a_kill_ends_the_session_and_opens_nothing() {
    ends_with(Signal::SIGKILL);
}

#[test]
fn a_client_that_is_gone_leaves_no_process_behind() {
    let (login, client) = own();
    let mut session = session(&client);
    session.write("restore remote-manager-backup loc");
    assert_eq!(of_the_admin(&login), BTreeSet::from(["-reinstate-shell".to_owned()]));
    kill(Pid::from_raw(session.id() as i32), Signal::SIGKILL).unwrap();
    wait_until("the end of the session", || of_the_admin(&login).is_empty());
}

#[test]
fn a_password_that_is_typed_is_in_no_argument_and_no_environment() {
    let (_login, client) = own();
    let mut session = session(&client);
    session.write("configure password\r");
    session.read_until("Enter new password: ", PATIENCE).unwrap();
    session.write("Geheim-Geheim-1\r");
    session.read_until("Confirm new password: ", PATIENCE).unwrap();
    for pid in all() {
        for name in ["cmdline", "environ"] {
            assert!(!text(pid, name).contains("Geheim-Geheim-1"), "{name} of {}", text(pid, "cmdline"));
        }
    }
    session.write("\u{3}");
    session.read_until("> ", PATIENCE).unwrap();
    assert!(!say(&mut session, "history").contains("Geheim"));
}
