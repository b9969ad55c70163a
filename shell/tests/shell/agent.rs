//! An agent that follows a script: it speaks the routes on a real socket, says what a test tells it
//! to say (nonsense too), and keeps what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reinstate_api::*;
use serde_json::{Value, json};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);

/// A step of the event stream.
#[derive(Clone)]
pub enum Step {
    Say(Box<Status>),
    /// Go on once so many requests of this route have come.
    Await(&'static str, usize),
    /// Keep the stream open until the client goes.
    Hold,
}

#[derive(Clone)]
pub enum Reply {
    Json(u16, Value),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// A head, then this byte without end.
    Flood(Vec<u8>, u8),
}

/// `POST /v1/answer` and its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub route: String,
    pub body: Value,
}

type Log = Arc<(Mutex<Vec<Asked>>, Condvar)>;

pub struct Agent {
    folder: tempfile::TempDir,
    log: Log,
}

impl Agent {
    /// Starts an agent with these replies; `GET /v1/events` follows `steps`.
    pub fn start(replies: &[(&str, Reply)], steps: Vec<Step>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("agent.sock")).unwrap();
        let log = Log::default();
        let mut routes = BTreeMap::from([
            ("POST /v1/answer".to_owned(), Reply::Json(200, json!({}))),
            ("GET /v1/session?from=console".to_owned(), session(&usual())),
            ("POST /v1/restore".to_owned(), Reply::Json(200, json!({ "id": id() }))),
            ("GET /v1/texts".to_owned(), Reply::Json(200, texts())),
        ]);
        routes.extend(replies.iter().map(|(route, reply)| ((*route).to_owned(), reply.clone())));
        let (shared, routes) = (Arc::clone(&log), Arc::new(routes));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, routes, steps) = (Arc::clone(&shared), Arc::clone(&routes), steps.clone());
                // A client that goes away early is part of what is tested.
                std::thread::spawn(move || serve(stream.unwrap(), &log, &routes, &steps));
            }
        });
        Self { folder, log }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// What was asked that could change anything.
    pub fn changes(&self) -> Vec<Asked> {
        let log = self.log.0.lock().unwrap();
        log.iter().filter(|asked| !asked.route.starts_with("GET")).cloned().collect()
    }

    pub fn asked(&self) -> usize {
        self.log.0.lock().unwrap().len()
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_reinstate-shell"))
            .env_clear()
            .arg("--socket")
            .arg(self.socket())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs the shell with this input to its end; nothing may be written to standard error.
    pub fn run(&self, args: &[&str], input: &[u8]) -> (i32, String) {
        let mut child = self.spawn(args);
        // Whoever refuses the line may be gone before it reads.
        let _ = child.stdin.take().unwrap().write_all(input);
        finish(child)
    }
}

/// The exit status of a shell that has to end by itself. One that does not is ended, and named.
pub fn exit_status(child: &mut Child) -> Option<i32> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the shell did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The exit status and the output, in which no line may look like a prompt.
pub fn finish(child: Child) -> (i32, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    assert_eq!(String::from_utf8_lossy(&stderr), "", "{text}");
    for line in text.lines() {
        let line = line.trim_end();
        assert!(line == ">" || !line.ends_with(['>', '#']), "{line:?} looks like a prompt");
    }
    (status.code().expect("no signal ended it"), text)
}

fn serve(mut stream: UnixStream, log: &Log, routes: &BTreeMap<String, Reply>, steps: &[Step]) -> Option<()> {
    let asked = read_request(&stream)?;
    let route = asked.route.clone();
    {
        log.0.lock().unwrap().push(asked);
        log.1.notify_all();
    }
    let reply = match routes.get(&route) {
        Some(reply) => reply.clone(),
        None if route == "GET /v1/events" => return events(&mut stream, log, steps),
        None => {
            Reply::Json(404, json!({"failures": [{"code": "not-found", "message": format!("no {route}")}]}))
        }
    };
    match reply {
        Reply::Json(status, body) => {
            let body = body.to_string();
            let length = body.len();
            write!(stream, "HTTP/1.0 {status} X\r\ncontent-length: {length}\r\n\r\n{body}").ok()
        }
        Reply::Raw(bytes) => stream.write_all(&bytes).ok(),
        Reply::Flood(head, byte) => {
            stream.write_all(&head).ok()?;
            loop {
                stream.write_all(&[byte; 65536]).ok()?;
            }
        }
    }
}

fn read_request(stream: &UnixStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let route = line.strip_suffix(" HTTP/1.0\r\n")?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header == "\r\n" {
            break;
        }
        if let Some(value) = header.strip_prefix("Content-Length: ") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Asked { route, body })
}

fn events(stream: &mut UnixStream, log: &Log, steps: &[Step]) -> Option<()> {
    write!(stream, "HTTP/1.0 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n").ok()?;
    for step in steps {
        match step {
            Step::Say(status) => writeln!(stream, "{}", serde_json::to_string(status).unwrap()).ok()?,
            Step::Await(route, count) => wait_for(log, route, *count),
            Step::Hold => {
                stream.read_to_end(&mut Vec::new()).ok()?;
            }
        }
    }
    Some(())
}

fn wait_for(log: &Log, route: &str, count: usize) {
    let until = Instant::now() + PATIENCE;
    let mut asked = log.0.lock().unwrap();
    while asked.iter().filter(|asked| asked.route == route).count() < count {
        let left = until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{route} was not asked {count} times");
        asked = log.1.wait_timeout(asked, left).unwrap().0;
    }
}

/// A session as most are.
pub fn usual() -> Session {
    Session { user: "admin".into(), access: Access::Config, idle: 0, setup: false, expert: false }
}

/// The first line of a session's answer; the fake does not let it last.
pub fn session(session: &Session) -> Reply {
    let line = serde_json::to_string(session).unwrap();
    Reply::Raw(format!("HTTP/1.0 200 OK\r\n\r\n{line}\n").into_bytes())
}

pub fn id() -> Uuid {
    Uuid::from_u128(0x5eed)
}

fn texts() -> Value {
    json!({
        "caution": ["Take the failed unit off the network before you go on."],
        "post_restore": ["Enrol the VPN certificates again."],
    })
}

pub fn failure(code: Code, message: &str, hint: &str) -> Failure {
    Failure::new(code, message).hint(hint)
}

pub fn refusal(status: u16, failures: &[Failure]) -> Reply {
    Reply::Json(status, json!({ "failures": failures }))
}

pub fn job(phase: Phase) -> JobView {
    JobView {
        id: id(),
        kind: JobKind::Restore,
        source: "backup fw-a.tar".into(),
        by: "admin".into(),
        started: Timestamp::UNIX_EPOCH,
        phase,
        progress: None,
        question: None,
        confirm_until: None,
        details: None,
        changes: Vec::new(),
        notes: Vec::new(),
        ended: None,
        outcome: None,
    }
}

pub fn asking(number: u64, kind: QuestionKind) -> JobView {
    let phase = if kind == QuestionKind::Confirm { Phase::AwaitingAnswer } else { Phase::Receiving };
    let question = Some(Question { number, kind, until: Timestamp::from_second(4_000_000_000).unwrap() });
    JobView { question, ..job(phase) }
}

pub fn password(number: u64) -> JobView {
    let prompt = "admin@192.0.2.9's password: ".into();
    asking(number, QuestionKind::Prompt { prompt, echo: false })
}

pub fn confirm(number: u64) -> JobView {
    JobView {
        details: Some(details()),
        changes: vec![
            change("network", "replace", &["etc/systemd/network/10-mgmt.network"], &[]),
            change("vpn", "remove", &[], &["etc/swanctl/x509/site-a.pem"]),
        ],
        notes: vec!["the archive has no domain licence".into()],
        ..asking(number, QuestionKind::Confirm)
    }
}

pub fn ended(outcome: Outcome) -> JobView {
    JobView { ended: Some(Timestamp::UNIX_EPOCH), outcome: Some(outcome), ..job(Phase::Receiving) }
}

fn change(domain: &str, policy: &str, changed: &[&str], removed: &[&str]) -> DomainChange {
    let own = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    DomainChange {
        domain: domain.into(),
        policy: policy.into(),
        added: Vec::new(),
        changed: own(changed),
        removed: own(removed),
    }
}

fn details() -> BackupDetails {
    BackupDetails {
        file: "fw-a.tar".into(),
        created: Timestamp::UNIX_EPOCH,
        hardware: HardwareIdentity {
            model: "VFW-100".into(),
            serial: "SN-1".into(),
            ..HardwareIdentity::default()
        },
        device: DeviceIdentity {
            uuid: "11111111-2222-3333-4444-555555555555".into(),
            hostname: "fw-a".into(),
            role: Role::Standalone,
            management: vec!["192.0.2.10/24".into()],
        },
        software: Software { version: "7.4.1".into(), build: "172".into(), ..Software::default() },
        licence: String::new(),
        manager: None,
        bytes: 4096,
        files: 12,
    }
}

pub fn status(job: Option<JobView>) -> Status {
    Status {
        job,
        last: None,
        active: 0,
        previous: None,
        lock: None,
        group: None,
        releases: Vec::new(),
        checkin: None,
        tasks: None,
        warnings: Vec::new(),
    }
}

pub fn say(job: JobView) -> Step {
    Step::Say(Box::new(status(Some(job))))
}

pub fn entry(outcome: Outcome) -> HistoryEntry {
    HistoryEntry {
        id: id(),
        kind: JobKind::Restore,
        source: "backup fw-a.tar".into(),
        by: "admin".into(),
        started: Timestamp::UNIX_EPOCH,
        ended: Timestamp::UNIX_EPOCH,
        phase: Phase::Finishing,
        from: 1,
        to: 2,
        notes: Vec::new(),
        overrides: Vec::new(),
        outcome,
    }
}

/// What a restore leaves to be done.
pub fn tasks() -> Tasks {
    Tasks {
        restore: id(),
        since: Timestamp::UNIX_EPOCH,
        texts: vec!["Licence this unit.".into()],
        enrol: vec!["vpn: /etc/swanctl/x509/site-a.pem was taken off; enrol it again".into()],
        acknowledged: None,
    }
}

/// A manager that has not been told yet.
pub fn untold() -> CheckIn {
    CheckIn {
        restore: id(),
        since: Timestamp::UNIX_EPOCH,
        accepted: None,
        attempts: 3,
        last: Some(Timestamp::from_second(60).unwrap()),
        failure: Some(failure(Code::ManagerRefused, "the manager fmc answered 404 Not Found", "look there")),
        next: Some(Timestamp::from_second(120).unwrap()),
    }
}

/// A restore from a server.
pub const RESTORE: [&str; 2] =
    ["-c", "restore remote-manager-backup location 192.0.2.9:2222 admin /backups fw-a.tar"];

pub fn declined() -> Outcome {
    let failures = vec![failure(Code::Declined, "an admin answered no", "")];
    Outcome::Failed { failures }
}
