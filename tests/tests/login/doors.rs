//! Ways through the SSH server that are not the shell and not the backups: asked for, and refused.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use reinstate_tests::login::{Login, Session};

use super::{login, wait_until};

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Nobody has connected to this listener.
fn assert_alone(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn nothing_is_forwarded_to_where_the_appliance_could_connect() {
    let (login, client) = login();
    let inside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = inside.local_addr().unwrap();
    let here = tempfile::tempdir().unwrap();
    let (port, socket) = (free_port(), here.path().join("socket"));
    let agent = login.machine.root().join(reinstate_api::SOCKET);
    let log = here.path().join("log");
    let mut ssh = client
        .command("ssh")
        .args(["-v", "-N", "-o", "ExitOnForwardFailure=yes"])
        .args(["-L", &format!("{port}:{target}")])
        .args(["-L", &format!("{}:{}", socket.display(), agent.display())])
        .arg("appliance")
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    wait_until("the client's own end", || UnixStream::connect(&socket).is_ok());
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "something came through");
    wait_until("a refusal", || said().contains("open failed: administratively prohibited"));
    // This server's word for it is that it cannot connect; what it means is in its log.
    wait_until("another", || said().contains("open failed: connect failed: open failed"));
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    assert_alone(&inside);

    let through = client.ssh(&["-W", &target.to_string()], &[]);
    assert!(!through.ok() && through.err.contains("administratively prohibited"), "{through:?}");
    assert_alone(&inside);
    for refused in ["refused local port forward", "refused streamlocal port forward"] {
        assert!(login.log().contains(refused), "{}", login.log());
    }
}

#[test]
fn nothing_is_listened_on_for_a_client() {
    let (login, client) = login();
    let port = free_port();
    let forward = format!("127.0.0.1:{port}:127.0.0.1:{}", login.door().port());
    let said = client.ssh(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", &forward], &[]);
    assert!(!said.ok() && said.err.contains("remote port forwarding failed"), "{said:?}");
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    let socket = login.backups().join("socket");
    let forward = format!("{}:127.0.0.1:{}", socket.display(), login.door().port());
    let said = client.ssh(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", &forward], &[]);
    assert!(!said.ok() && said.err.contains("remote port forwarding failed"), "{said:?}");
    assert!(!socket.exists());
}

/// The environment of the shell in the one session that there is.
fn environment(login: &Login) -> Vec<String> {
    let connection = format!(" 127.0.0.1 {}", login.door().port());
    let mut found = None;
    wait_until("a shell", || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok());
        found = processes.map(|entry| entry.path()).find_map(|process| {
            let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            let mine = environment.split('\0').any(|line| {
                line.strip_prefix("SSH_CONNECTION=").is_some_and(|line| line.ends_with(&connection))
            });
            (read("cmdline").starts_with(b"-reinstate-shell\0") && mine)
                .then(|| environment.split('\0').map(str::to_owned).collect::<Vec<_>>())
        });
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn neither_an_agent_nor_a_display_nor_variables_come_with_a_login() {
    let (login, client) = login();
    let here = tempfile::tempdir().unwrap();
    let socket = here.path().join("agent");
    let agent =
        Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    wait_until("an agent", || UnixStream::connect(&socket).is_ok());
    let log = here.path().join("log");
    let ssh = client
        .command("ssh")
        .args([
            "-v",
            "-tt",
            "-A",
            "-X",
            "-o",
            "SetEnv=LANG=C.UTF-8 LD_PRELOAD=/tmp/x.so REINSTATE=1 PATH=/tmp",
        ])
        .arg("appliance")
        .env("SSH_AUTH_SOCK", &socket)
        .env("DISPLAY", "127.0.0.1:97")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_until("a login", || fs::read_to_string(&log).unwrap().contains("Entering interactive session"));
    let environment = environment(&login);
    let has = |name: &str| environment.iter().any(|line| line.starts_with(&format!("{name}=")));
    // What the server gives has come: so the look is one at the right place. What it has let in, the shell has left behind.
    assert!(has("SSH_CONNECTION") && has("TERM"), "{environment:?}");
    for name in ["LANG", "SSH_AUTH_SOCK", "DISPLAY", "LD_PRELOAD", "REINSTATE"] {
        assert!(!has(name), "{name}: {environment:?}");
    }
    assert!(!environment.contains(&"PATH=/tmp".to_owned()), "{environment:?}");
    for mut child in [ssh, agent] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("Requesting authentication agent forwarding"), "{said}");
    assert!(said.contains("Requesting X11 forwarding"), "{said}");
    assert!(said.contains("X11 forwarding request failed"), "{said}");
    assert!(said.contains("LD_PRELOAD"), "{said}");
}

/// What sshd makes of all its files for one user.
fn effective(login: &Login, user: &str) -> String {
    let asked = format!("user={user},host=localhost,addr=127.0.0.1");
    let output = login
        .inside("/usr/sbin/sshd")
        .args(["-T", "-f", "/usr/lib/reinstate/sshd_config", "-C", &asked])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_shipped_file_closes_what_no_login_needs_and_an_appliance_s_own_file_may_be_stricter() {
    let appliance = reinstate_tests::appliance::Appliance::replacement();
    let own = ["MaxAuthTries 2", "AllowTcpForwarding yes", "X11Forwarding yes", "PermitTunnel yes"];
    let login = Login::with_lines(super::PROGRAM, &appliance, &own);
    for user in ["admin", "operator", "root"] {
        let effective = effective(&login, user);
        for line in [
            "disableforwarding yes",
            "allowtcpforwarding no",
            "allowstreamlocalforwarding no",
            "allowagentforwarding no",
            "x11forwarding no",
            "gatewayports no",
            "permittunnel no",
            "permituserenvironment no",
            "permituserrc no",
            "permitemptypasswords no",
            "subsystem sftp /usr/lib/reinstate/sftp",
            "maxauthtries 2",
            "maxsessions 4",
            "logingracetime 30",
            "clientaliveinterval 60",
        ] {
            assert!(effective.lines().any(|have| have.trim() == line), "{user}: {line}\n{effective}");
        }
    }
}

#[test]
fn the_appliance_that_is_delivered_starts_its_server_with_the_shipped_file() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image/tree/etc/ssh");
    let place = tempfile::tempdir().unwrap();
    let key = place.path().join("key");
    reinstate_tests::must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    let file = reinstate_tests::appliance::shipped_sshd_config();
    let script = "mount --bind \"$1\" /etc/ssh && mount -t tmpfs run /run && mkdir /run/sshd && \
                  exec /usr/sbin/sshd -t -f \"$2\" -h \"$3\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([&tree, &file, &key])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_session_on_a_terminal_answers_and_ends() {
    let (_login, client) = login();
    let mut session = Session::open(&client, 24, 80);
    let patience = Duration::from_secs(20);
    session.read_until("> ", patience).unwrap();
    session.resize(50, 132);
    session.write("show version\r");
    let said = session.read_until("UUID", patience).unwrap();
    assert!(said.contains("Version"), "{said}");
    session.read_until("> ", patience).unwrap();
    session.write("exit\r");
    assert!(session.ended(patience).is_some(), "the session does not end");
}
