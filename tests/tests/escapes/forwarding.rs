//! Ways through the server to somewhere else: asked for by stock clients, and refused.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::{ADMIN, Client, Login};
use tempfile::TempDir;

use super::processes::shell_of;
use super::{PATIENCE, PROGRAM, own, shared, wait_until};

const PROHIBITED: &str = "administratively prohibited";
/// Of a socket a client is told no reason, the server's log is.
const NOT_OPENED: &str = "open failed";
const REFUSED_SOCKET: &str = "refused streamlocal port forward";

/// Somewhere that the appliance could reach.
fn target() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    // It can be reached: a connection is taken, and only this one.
    drop(TcpStream::connect(address).unwrap());
    wait_until("a connection", || listener.accept().is_ok());
    (listener, address)
}

fn assert_alone(listener: &TcpListener) {
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A client that stays, and what it logs.
struct Staying {
    ssh: Child,
    place: TempDir,
    /// It reads this one's files.
    _client: Client,
}

impl Staying {
    fn new(client: Client, options: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let ssh = client
            .command("ssh")
            .args(["-v", "-E"])
            .arg(place.path().join("log"))
            .args(options)
            .arg("appliance")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { ssh, place, _client: client }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    fn says(&self, words: &str) {
        wait_until(words, || self.log().contains(words));
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

fn connect(port: u16) -> TcpStream {
    let mut stream = None;
    wait_until("the client's own end", || {
        stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok();
        stream.is_some()
    });
    let stream = stream.unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_local_port_leads_to_no_other_machine() {
    let (login, (listener, address), port) = (shared(), target(), free_port());
    let staying = Staying::new(login.client(ADMIN), &["-N", "-L", &format!("{port}:{address}")]);
    let mut stream = connect(port);
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "something came through");
    staying.says(PROHIBITED);
    assert_alone(&listener);
}

#[test]
fn a_local_port_leads_not_to_the_agent_s_socket() {
    let (login, port) = (shared(), free_port());
    let agent = login.machine.root().join(reinstate_api::SOCKET);
    UnixStream::connect(&agent).unwrap();
    let staying =
        Staying::new(login.client(ADMIN), &["-N", "-L", &format!("{port}:/run/reinstate/agent.sock")]);
    let mut stream = connect(port);
    stream.write_all(b"GET /v1/status HTTP/1.0\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    staying.says(NOT_OPENED);
    assert!(login.log().contains(REFUSED_SOCKET), "{}", login.log());
}

#[test]
fn a_local_socket_leads_to_no_socket_of_the_appliance() {
    let login = shared();
    let here = tempfile::tempdir().unwrap();
    let (ours, theirs) = (here.path().join("ours"), here.path().join("theirs"));
    let listener = UnixListener::bind(&theirs).unwrap();
    listener.set_nonblocking(true).unwrap();
    let forward = format!("{}:{}", ours.display(), theirs.display());
    let staying = Staying::new(login.client(ADMIN), &["-N", "-L", &forward]);
    wait_until("the client's own end", || UnixStream::connect(&ours).is_ok());
    staying.says(NOT_OPENED);
    assert!(login.log().contains(REFUSED_SOCKET), "{}", login.log());
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_socks_proxy_reaches_nothing() {
    let (login, (listener, address), port) = (shared(), target(), free_port());
    let staying = Staying::new(login.client(ADMIN), &["-N", "-D", &port.to_string()]);
    let mut stream = connect(port);
    let mut request = vec![5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1];
    request.extend(address.port().to_be_bytes());
    stream.write_all(&request).unwrap();
    staying.says(PROHIBITED);
    assert_alone(&listener);
}

#[test]
fn standard_input_is_tied_to_no_other_machine() {
    let (login, (listener, address)) = (shared(), target());
    let said = login.client(ADMIN).ssh(&["-W", &address.to_string()], &[]);
    assert!(!said.ok() && said.err.contains(PROHIBITED), "{said:?}");
    assert_alone(&listener);
    assert!(login.log().contains("refused local port forward"), "{}", login.log());
}

#[test]
fn nobody_jumps_over_the_appliance_to_another_machine() {
    let (login, (listener, address)) = (shared(), target());
    let port = address.port().to_string();
    let client = login.client(ADMIN);
    let output =
        client.command("ssh").args(["-J", "appliance", "-p", &port, "127.0.0.1", "true"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(PROHIBITED), "{said}");
    assert_alone(&listener);
}

#[test]
fn no_port_is_opened_on_the_appliance() {
    let (login, (listener, address), port) = (shared(), target(), free_port());
    for bind in ["127.0.0.1", "0.0.0.0", "[::1]"] {
        let forward = format!("{bind}:{port}:{address}");
        let said = login.client(ADMIN).ssh(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", &forward], &[]);
        assert!(!said.ok() && said.err.contains("remote port forwarding failed"), "{said:?}");
    }
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    assert_alone(&listener);
}

#[test]
fn no_port_of_the_server_s_choice_is_opened_on_the_appliance() {
    let (login, (_listener, address)) = (shared(), target());
    let forward = format!("0:{address}");
    let said = login.client(ADMIN).ssh(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", &forward], &[]);
    assert!(!said.ok() && said.err.contains("remote port forwarding failed"), "{said:?}");
    assert!(!said.err.contains("Allocated port"), "{said:?}");
}

#[test]
fn no_socket_is_made_on_the_appliance() {
    let (login, (_listener, address)) = (shared(), target());
    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(place.path(), Some(1000), None).unwrap();
    for socket in
        [place.path().join("socket"), login.backups().join("socket"), PathBuf::from("/home/admin/socket")]
    {
        let forward = format!("{}:{address}", socket.display());
        let said = login.client(ADMIN).ssh(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", &forward], &[]);
        assert!(!said.ok() && said.err.contains("remote port forwarding failed"), "{said:?}");
        assert!(!login.inside("/bin/test").arg("-e").arg(&socket).status().unwrap().success(), "{socket:?}");
    }
}

#[test]
fn no_agent_of_a_client_comes_with_a_login() {
    let (login, client) = own();
    let here = tempfile::tempdir().unwrap();
    let socket = here.path().join("agent");
    let agent = UnixListener::bind(&socket).unwrap();
    // One that answers nothing; a client waits for it otherwise. It ends with the test's process.
    std::thread::spawn(move || agent.incoming().for_each(drop));
    let log = here.path().join("log");
    let mut ssh = client.command("ssh");
    ssh.args(["-v", "-E"]).arg(&log).args(["-tt", "-A", "appliance"]);
    ssh.env("SSH_AUTH_SOCK", &socket).env("TERM", "xterm");
    let mut session = reinstate_tests::login::Session::of(&ssh, 24, 80);
    super::prompted(&mut session);
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("Requesting authentication agent forwarding"), "{log}");
    let shell = shell_of(&login);
    let status = fs::read_to_string(format!("/proc/{shell}/status")).unwrap();
    let server = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    // As the server would call it.
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!sockets.contains(&format!("agent.{server}")), "{sockets}");
    let environment = super::processes::environment_of(shell);
    assert!(!environment.iter().any(|line| line.starts_with("SSH_AUTH_SOCK")), "{environment:?}");
}

#[test]
fn no_display_comes_with_a_login() {
    let login = shared();
    for how in ["-X", "-Y"] {
        let here = tempfile::tempdir().unwrap();
        let output = login
            .client(ADMIN)
            .command("ssh")
            .args(["-v", how, "appliance", "show version"])
            .env("DISPLAY", "127.0.0.1:97")
            .env("XAUTHORITY", here.path().join("xauthority"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(said.contains("X11 forwarding request failed"), "{said}");
    }
}

#[test]
fn an_appliance_s_own_file_that_opens_forwarding_opens_none() {
    let own = [
        "AllowTcpForwarding yes",
        "AllowStreamLocalForwarding yes",
        "GatewayPorts yes",
        "DisableForwarding no",
        "PermitOpen any",
        "AllowAgentForwarding yes",
        "X11Forwarding yes",
        "PermitTunnel yes",
        "PermitUserRC yes",
        "PermitUserEnvironment yes",
    ];
    let login = Login::with_lines(PROGRAM, &Appliance::replacement(), &own);
    let client = login.client(ADMIN);
    let (listener, address) = target();
    let said = client.ssh(&["-W", &address.to_string()], &[]);
    assert!(!said.ok() && said.err.contains(PROHIBITED), "{said:?}");
    assert_alone(&listener);
    let forward = format!("{}:{address}", free_port());
    let said = client.ssh(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", &forward], &[]);
    assert!(!said.ok() && said.err.contains("remote port forwarding failed"), "{said:?}");
}

#[test]
fn a_control_socket_gives_a_second_session_no_more_than_the_first() {
    let login = shared();
    let (listener, address) = target();
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("control");
    let control = format!("ControlPath={}", path.display());
    let _staying = Staying::new(login.client(ADMIN), &["-N", "-o", "ControlMaster=yes", "-o", &control]);
    wait_until("the control socket", || path.exists());
    let client = login.client(ADMIN);
    let said = client.ssh(&["-o", &control], &["show version"]);
    assert!(said.ok(), "{said:?}");
    let said = client.ssh(&["-o", &control], &["sh"]);
    assert_eq!(said.status, Some(2), "{said:?}");
    let port = free_port();
    let _ = client.ssh(&["-o", &control, "-O", "forward", "-L", &format!("{port}:{address}")], &[]);
    let mut stream = connect(port);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "something came through");
    assert_alone(&listener);
}
