//! Fetching a file: from real OpenSSH servers, and from servers that lie.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

use std::collections::VecDeque;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reinstate_agent::fetch::{Ask, DeviceKey, Finished, Options, RemoteFile, Trust, connect};
use reinstate_agent::files::{Direct, Folder};
use reinstate_api::{Code, Failure, HostKey, Location, Secret};
use reinstate_tests::relay::Relay;
use reinstate_tests::rogue::{Rogue, Script, Sftp, Step, Trick, raw};
use reinstate_tests::sshd::{Sshd, SshdOptions, known_hosts_line};
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Whoever watches: has an opinion about host keys, answers in stock, and remembers what was shown.
#[derive(Default)]
struct Watcher {
    accept: bool,
    answers: Mutex<VecDeque<String>>,
    delay: Duration,
    host_keys: Mutex<Vec<HostKey>>,
    prompts: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
}

impl Watcher {
    fn accepting() -> Self {
        Self { accept: true, ..Self::default() }
    }

    fn answering(answers: &[&str]) -> Self {
        let answers = answers.iter().map(|answer| answer.to_string()).collect();
        Self { accept: true, answers: Mutex::new(answers), ..Self::default() }
    }

    fn notes(&self) -> String {
        self.notes.lock().unwrap().join("\n")
    }

    fn prompts(&self) -> Vec<String> {
        self.prompts.lock().unwrap().clone()
    }

    fn asked_about_keys(&self) -> usize {
        self.host_keys.lock().unwrap().len()
    }
}

impl Ask for Watcher {
    fn host_key(&self, key: HostKey) -> BoxFuture<'_, Result<bool, Failure>> {
        self.host_keys.lock().unwrap().push(key);
        Box::pin(async { Ok(self.accept) })
    }

    fn prompt(&self, prompt: String, _: bool) -> BoxFuture<'_, Result<Secret, Failure>> {
        self.prompts.lock().unwrap().push(prompt);
        Box::pin(async {
            tokio::time::sleep(self.delay).await;
            let answer = self.answers.lock().unwrap().pop_front();
            answer.map(Secret::new).ok_or_else(|| Failure::new(Code::Unanswered, "nobody answered"))
        })
    }

    fn note(&self, note: String) {
        self.notes.lock().unwrap().push(note);
    }
}

/// An appliance: its key, and what it trusts.
struct Appliance {
    key: DeviceKey,
    trust: Trust,
    options: Options,
    place: TempDir,
}

impl Appliance {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path(), Arc::new(Direct)).unwrap();
        let key = DeviceKey::load_or_create(&folder, Path::new("id"), "fw-a").unwrap();
        let known_hosts = vec![place.path().join("ssh_known_hosts")];
        let trust = Trust { known_hosts, remember: (folder, PathBuf::from("known_hosts")) };
        let options = Options {
            connect_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(20),
            ..Options::default()
        };
        Self { key, trust, options, place }
    }

    /// One that gives up on a silent server at once.
    fn impatient() -> Self {
        let mut appliance = Self::new();
        appliance.options.connect_timeout = Duration::from_millis(1500);
        appliance.options.stall_timeout = Duration::from_millis(1500);
        appliance
    }

    fn known_hosts(&self, lines: &str) {
        fs::write(&self.trust.known_hosts[0], lines).unwrap();
    }

    fn remembered(&self) -> String {
        fs::read_to_string(self.place.path().join("known_hosts")).unwrap_or_default()
    }

    fn sshd(&self, options: SshdOptions) -> Sshd {
        Sshd::start(&SshdOptions { authorized_keys: vec![self.key.public_line()], ..options })
    }

    async fn open(&self, location: &Location, watcher: &Watcher) -> Result<RemoteFile, Failure> {
        let connection = connect(location, &self.trust, &self.key, watcher, &self.options).await?;
        connection.open(watcher).await
    }

    async fn fetch(&self, location: &Location, watcher: &Watcher) -> Result<Vec<u8>, Failure> {
        let file = self.open(location, watcher).await?;
        let (size, (result, bytes)) = (file.size, read(file, 0).await);
        assert_eq!(result?, Finished::Whole);
        assert_eq!(bytes.len() as u64, size);
        Ok(bytes)
    }

    async fn refused(&self, location: &Location, watcher: &Watcher) -> Failure {
        let failure = self.fetch(location, watcher).await.unwrap_err();
        for text in [&failure.message, &failure.hint, &watcher.notes(), &watcher.prompts().join("\n")] {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "raw control characters in {text:?}");
            assert!(text.len() < 4000, "{} bytes of text", text.len());
        }
        failure
    }
}

/// Everything that arrived, and how it ended.
async fn read(file: RemoteFile, from: u64) -> (Result<Finished, Failure>, Vec<u8>) {
    let (out, mut pieces) = mpsc::channel::<Bytes>(4);
    let collect = async {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            bytes.extend_from_slice(&piece);
        }
        bytes
    };
    tokio::join!(file.read(from, out), collect)
}

fn at(host: IpAddr, port: u16, user: &str, path: &Path) -> Location {
    let (host, path) = (host.to_string(), path.to_str().unwrap().to_owned());
    Location { host, port, user: user.to_owned(), path, fingerprint: None }
}

fn on(sshd: &Sshd, path: &Path) -> Location {
    at(sshd.address().ip(), sshd.port(), sshd.user(), path)
}

fn on_rogue(rogue: &Rogue) -> Location {
    at(rogue.address().ip(), rogue.port(), "admin", Path::new("fw.tar"))
}

/// A file of bytes that repeat nowhere; the seed is printed for the one who looks for a failure.
struct Source {
    folder: TempDir,
    bytes: Vec<u8>,
}

impl Source {
    fn new(size: usize) -> Self {
        Self::named("fw.tar", size)
    }

    fn named(name: &str, size: usize) -> Self {
        let seed = RandomState::new().hash_one(name);
        println!("seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let bytes = noise(seed, size);
        fs::write(folder.path().join(name), &bytes).unwrap();
        Self { folder, bytes }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("fw.tar")
    }
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

#[tokio::test]
async fn a_file_comes_by_sftp_over_ipv4_and_ipv6() {
    let (appliance, source) = (Appliance::new(), Source::new(3_000_001));
    for listen in [V4, V6] {
        let sshd = appliance.sshd(SshdOptions { listen, ..SshdOptions::default() });
        let watcher = Watcher::accepting();
        let file = appliance.open(&on(&sshd, &source.path()), &watcher).await.unwrap();
        assert!(file.resumable && file.modified.is_some());
        let (result, bytes) = read(file, 0).await;
        assert_eq!(result.unwrap(), Finished::Whole);
        assert!(bytes == source.bytes);
        assert!(!watcher.notes().contains("SCP"), "{}", watcher.notes());
    }
}

#[tokio::test]
async fn a_server_without_sftp_serves_it_by_legacy_scp_over_ipv4_and_ipv6() {
    let name = "it's $(touch x) a \"backup\".tar";
    let (appliance, source) = (Appliance::new(), Source::named(name, 3_000_001));
    for listen in [V4, V6] {
        let sshd = appliance.sshd(SshdOptions { sftp: false, listen, ..SshdOptions::default() });
        let watcher = Watcher::accepting();
        let location = on(&sshd, &source.folder.path().join(name));
        let file = appliance.open(&location, &watcher).await.unwrap();
        assert!(!file.resumable);
        let (result, bytes) = read(file, 0).await;
        assert_eq!(result.unwrap(), Finished::Whole);
        assert!(bytes == source.bytes);
        assert!(watcher.notes().contains("legacy SCP"), "{}", watcher.notes());
    }
}

#[tokio::test]
async fn an_sftp_program_that_is_missing_on_the_server_means_legacy_scp() {
    let (appliance, source) = (Appliance::new(), Source::new(100_000));
    let config = vec!["Subsystem sftp /nonexistent/sftp-server".to_owned()];
    let sshd = appliance.sshd(SshdOptions { sftp: false, config, ..SshdOptions::default() });
    assert!(
        appliance.fetch(&on(&sshd, &source.path()), &Watcher::accepting()).await.unwrap() == source.bytes
    );
}

#[tokio::test]
async fn several_fetches_run_at_once_as_tasks() {
    let (appliance, source) = (Arc::new(Appliance::new()), Source::new(3_000_001));
    let sshd = appliance.sshd(SshdOptions::default());
    appliance.known_hosts(&format!("{}\n", sshd.known_hosts_line()));
    let location = on(&sshd, &source.path());
    let fetches: Vec<_> = (0..3)
        .map(|_| {
            let (appliance, location) = (appliance.clone(), location.clone());
            tokio::spawn(async move { appliance.fetch(&location, &Watcher::default()).await })
        })
        .collect();
    for fetch in fetches {
        assert!(fetch.await.unwrap().unwrap() == source.bytes);
    }
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let (appliance, source) = (Appliance::new(), Source::new(0));
    for sftp in [true, false] {
        let sshd = appliance.sshd(SshdOptions { sftp, ..SshdOptions::default() });
        assert_eq!(appliance.fetch(&on(&sshd, &source.path()), &Watcher::accepting()).await.unwrap(), b"");
    }
}

#[tokio::test]
async fn an_unknown_host_key_is_asked_about_once_and_then_known() {
    let (appliance, source) = (Appliance::new(), Source::new(10));
    let sshd = appliance.sshd(SshdOptions::default());
    let (first, second) = (Watcher::accepting(), Watcher::default());
    appliance.fetch(&on(&sshd, &source.path()), &first).await.unwrap();
    let shown = first.host_keys.lock().unwrap()[0].clone();
    assert_eq!(shown.host, format!("[127.0.0.1]:{}", sshd.port()));
    assert_eq!((shown.algorithm.as_str(), shown.sha256), ("ssh-ed25519", sshd.fingerprint()));
    assert_eq!(appliance.remembered().trim(), sshd.known_hosts_line().trim());
    appliance.fetch(&on(&sshd, &source.path()), &second).await.unwrap();
    assert_eq!(second.asked_about_keys(), 0);
}

#[tokio::test]
async fn a_host_key_that_is_not_accepted_ends_it_and_is_not_kept() {
    let appliance = Appliance::new();
    let rogue = Rogue::start(Script { any_key: true, ..Script::default() }).await;
    let failure = appliance.refused(&on_rogue(&rogue), &Watcher::default()).await;
    assert_eq!(failure.code, Code::HostKeyUnknown);
    assert!(failure.message.contains(&rogue.fingerprint()), "{failure}");
    assert_eq!((appliance.remembered(), rogue.seen()), (String::new(), vec![]));
}

#[tokio::test]
async fn a_changed_or_revoked_host_key_stops_before_any_credential() {
    let appliance = Appliance::new();
    let rogue = Rogue::start(Script { any_key: true, ..Script::default() }).await;
    let random = |algorithm| PrivateKey::random(&mut russh::keys::key::safe_rng(), algorithm).unwrap();
    let curve = russh::keys::EcdsaCurve::NistP256;
    for other in [Algorithm::Ed25519, Algorithm::Ecdsa { curve }] {
        let other = random(other).public_key().clone();
        appliance.known_hosts(&format!("# a comment\n{}\n", known_hosts_line(rogue.address(), &other)));
        let failure = appliance.refused(&on_rogue(&rogue), &Watcher::accepting()).await;
        assert_eq!(failure.code, Code::HostKeyChanged);
        for value in [
            rogue.fingerprint(),
            other.fingerprint(HashAlg::Sha256).to_string(),
            "ssh_known_hosts:2".to_owned(),
        ] {
            assert!(failure.message.contains(&value), "{value} in {failure}");
        }
    }
    let good = known_hosts_line(rogue.address(), rogue.host_key());
    let revoked = format!("@revoked * {}", rogue.host_key().to_openssh().unwrap());
    appliance.known_hosts(&format!("{good}\n{revoked}\n"));
    let failure = appliance.refused(&on_rogue(&rogue), &Watcher::accepting()).await;
    assert_eq!(failure.code, Code::HostKeyChanged);
    assert!(
        failure.message.contains("ssh_known_hosts:2") && failure.message.contains("revoked"),
        "{failure}"
    );
    assert_eq!(rogue.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn known_hosts_may_be_hashed_or_hold_patterns_and_unknown_lines() {
    let (appliance, source) = (Appliance::new(), Source::new(10));
    let sshd = appliance.sshd(SshdOptions::default());
    let path = appliance.trust.known_hosts[0].clone();
    appliance.known_hosts(&format!("{}\n", sshd.known_hosts_line()));
    let hashed = Command::new("ssh-keygen").arg("-H").arg("-f").arg(&path).output().unwrap();
    assert!(hashed.status.success());
    assert!(fs::read_to_string(&path).unwrap().starts_with("|1|"));
    let strict = Watcher::default();
    appliance.fetch(&on(&sshd, &source.path()), &strict).await.unwrap();
    let key = sshd.host_keys()[0].to_openssh().unwrap();
    for hosts in [
        format!("[127.0.0.*]:{}", sshd.port()),
        "*".to_owned(),
        format!("[192.0.2.*]:22,[127.?.0.1]:{}", sshd.port()),
    ] {
        appliance.known_hosts(&format!(
            "some garbage\n@cert-authority * {key}\nx ssh-future AAAA\n{hosts} {key}\n"
        ));
        appliance.fetch(&on(&sshd, &source.path()), &strict).await.unwrap();
        assert!(
            strict.notes().contains("ssh_known_hosts:2 names a certificate authority"),
            "{}",
            strict.notes()
        );
    }
    appliance.known_hosts(&format!("*,![127.0.0.1]:{} {key}\n", sshd.port()));
    let failure = appliance.refused(&on(&sshd, &source.path()), &strict).await;
    assert_eq!((failure.code, strict.asked_about_keys()), (Code::HostKeyUnknown, 1));
}

#[tokio::test]
async fn known_hosts_that_cannot_be_read_are_not_taken_for_empty() {
    let appliance = Appliance::new();
    let rogue = Rogue::start(Script::default()).await;
    fs::create_dir(&appliance.trust.known_hosts[0]).unwrap();
    let failure = appliance.refused(&on_rogue(&rogue), &Watcher::accepting()).await;
    assert_eq!(failure.code, Code::Io);
    assert!(failure.message.contains("ssh_known_hosts"), "{failure}");
}

#[tokio::test]
async fn a_given_fingerprint_of_any_of_the_servers_keys_is_accepted_without_a_question() {
    let source = Source::new(10);
    let curve = russh::keys::EcdsaCurve::NistP384;
    let host_keys = vec![Algorithm::Ed25519, Algorithm::Ecdsa { curve }, Algorithm::Rsa { hash: None }];
    let owner = Appliance::new();
    let sshd = owner.sshd(SshdOptions { host_keys, ..SshdOptions::default() });
    for key in sshd.host_keys() {
        let path = owner.place.path().join("key.pub");
        fs::write(&path, key.to_openssh().unwrap()).unwrap();
        let listed = Command::new("ssh-keygen").args(["-l", "-E", "md5", "-f"]).arg(&path).output().unwrap();
        let md5 = String::from_utf8(listed.stdout).unwrap().split(' ').nth(1).unwrap().to_owned();
        assert!(md5.starts_with("MD5:"));
        let sha256 = key.fingerprint(HashAlg::Sha256).to_string();
        for given in
            [sha256.clone(), format!("{sha256}="), md5.clone(), md5[4..].replace(':', "").to_uppercase()]
        {
            // Another appliance, which knows nothing yet, but has the same key.
            let mut appliance = Appliance::new();
            appliance.key = owner.key.clone();
            let (location, watcher) = (on(&sshd, &source.path()), Watcher::default());
            let location = Location { fingerprint: Some(given.clone()), ..location };
            appliance.fetch(&location, &watcher).await.unwrap();
            assert_eq!(watcher.asked_about_keys(), 0);
            assert!(appliance.remembered().contains(&key.to_openssh().unwrap()), "{given}");
            assert_eq!(
                watcher.notes().contains("MD5 is weak"),
                !given.starts_with("SHA256"),
                "{}",
                watcher.notes()
            );
            // Known from now on; and a known key of any algorithm is asked for first.
            let location = Location { fingerprint: None, ..location };
            appliance.fetch(&location, &watcher).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_wrong_fingerprint_stops_before_any_credential_even_for_a_known_host() {
    let appliance = Appliance::new();
    let rogue = Rogue::start(Script { any_key: true, ..Script::default() }).await;
    let wrong = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let swapped = rogue.fingerprint().to_ascii_uppercase();
    for known in [false, true] {
        if known {
            appliance.known_hosts(&known_hosts_line(rogue.address(), rogue.host_key()));
        }
        for given in [wrong, &swapped, "MD5:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00"] {
            let location = Location { fingerprint: Some(given.to_owned()), ..on_rogue(&rogue) };
            let watcher = Watcher::accepting();
            let failure = appliance.refused(&location, &watcher).await;
            assert_eq!(failure.code, Code::HostKeyChanged);
            assert!(
                failure.message.contains(given) && failure.message.contains(&rogue.fingerprint()),
                "{failure}"
            );
            assert_eq!(watcher.asked_about_keys(), 0);
        }
    }
    assert_eq!((appliance.remembered(), rogue.seen()), (String::new(), vec![]));
    let location = Location { fingerprint: Some("SHA256:short".to_owned()), ..on_rogue(&rogue) };
    assert_eq!(appliance.refused(&location, &Watcher::accepting()).await.code, Code::BadRequest);
}

fn honest(bytes: &[u8]) -> Option<Sftp> {
    Some(Sftp { file: bytes.into(), trick: Trick::None })
}

#[tokio::test]
async fn a_password_is_asked_for_where_the_key_is_not_accepted() {
    let (appliance, file) = (Appliance::new(), noise(1, 300_000));
    let script = Script { password: Some("right".to_owned()), sftp: honest(&file), ..Script::default() };
    let rogue = Rogue::start(script).await;
    let watcher = Watcher::answering(&["wrong", "right"]);
    assert!(appliance.fetch(&on_rogue(&rogue), &watcher).await.unwrap() == file);
    assert_eq!(rogue.seen(), ["key", "password wrong", "password right"]);
    assert_eq!(watcher.prompts(), ["admin@127.0.0.1's password: "; 2]);
    assert!(watcher.notes().contains("did not accept that"), "{}", watcher.notes());
}

#[tokio::test]
async fn three_wrong_passwords_end_it_and_no_message_holds_one() {
    let appliance = Appliance::new();
    let rogue = Rogue::start(Script { password: Some("right".to_owned()), ..Script::default() }).await;
    let watcher = Watcher::answering(&["hunter1", "hunter2", "hunter3", "right"]);
    let failure = appliance.refused(&on_rogue(&rogue), &watcher).await;
    assert_eq!(failure.code, Code::AuthenticationFailed);
    assert_eq!(watcher.prompts().len(), 3);
    for value in ["admin", "127.0.0.1", "password"] {
        assert!(failure.message.contains(value), "{failure}");
    }
    assert!(!format!("{failure:?}{}", watcher.notes()).contains("hunter"));
}

#[tokio::test]
async fn a_server_may_ask_several_questions() {
    let (appliance, file) = (Appliance::new(), noise(2, 1000));
    let question = |text: &str, answer: &str| (text.to_owned(), answer.to_owned());
    let questions = vec![question("Password: \x1b[31m", "right"), question("Code: ", "123456")];
    let rogue = Rogue::start(Script { questions, sftp: honest(&file), ..Script::default() }).await;
    let watcher = Watcher::answering(&["right", "123456"]);
    assert!(appliance.fetch(&on_rogue(&rogue), &watcher).await.unwrap() == file);
    let expected = ["admin@127.0.0.1: Password: \\u{1b}[31m", "admin@127.0.0.1: Code:"];
    assert_eq!(watcher.prompts(), expected);
    let watcher = Watcher::answering(&["wrong", "wrong", "wrong", "wrong"]);
    let failure = appliance.refused(&on_rogue(&rogue), &watcher).await;
    assert_eq!((failure.code, watcher.prompts().len()), (Code::AuthenticationFailed, 3));
}

#[tokio::test]
async fn questions_without_end_end_it() {
    let appliance = Appliance::new();
    let questions = (0..100).map(|n| (format!("{n}?"), "yes".to_owned())).collect();
    let rogue = Rogue::start(Script { questions, ..Script::default() }).await;
    let failure = appliance.refused(&on_rogue(&rogue), &Watcher::answering(&["yes"; 100])).await;
    assert_eq!(failure.code, Code::RemoteProtocol);
}

#[tokio::test]
async fn a_server_that_takes_keys_only_is_named_with_the_way_on() {
    let (appliance, source) = (Appliance::new(), Source::new(10));
    let sshd = Sshd::start(&SshdOptions::default());
    let watcher = Watcher::accepting();
    let failure = appliance.refused(&on(&sshd, &source.path()), &watcher).await;
    assert_eq!(failure.code, Code::AuthenticationFailed);
    for value in [sshd.user(), "127.0.0.1", "publickey"] {
        assert!(failure.message.contains(value), "{failure}");
    }
    assert!(failure.hint.contains("show public-key"), "{}", failure.hint);
    assert_eq!(watcher.prompts(), Vec::<String>::new());
}

#[tokio::test]
async fn who_thinks_for_longer_than_the_server_waits_need_not_answer_twice() {
    let (appliance, file) = (Appliance::new(), noise(3, 1000));
    let rogue = Rogue::start(Script {
        password: Some("right".to_owned()),
        sftp: honest(&file),
        patience: Some(Duration::from_millis(500)),
        ..Script::default()
    })
    .await;
    let watcher = Watcher { delay: Duration::from_secs(1), ..Watcher::answering(&["right"]) };
    assert!(appliance.fetch(&on_rogue(&rogue), &watcher).await.unwrap() == file);
    assert_eq!(watcher.prompts().len(), 1);
    assert!(watcher.notes().contains("connecting again"), "{}", watcher.notes());
}

#[tokio::test]
async fn what_is_no_file_is_named_by_sftp_and_by_scp() {
    let (appliance, source) = (Appliance::new(), Source::new(10));
    for sftp in [true, false] {
        let sshd = appliance.sshd(SshdOptions { sftp, ..SshdOptions::default() });
        for name in ["missing.tar", "."] {
            let path = source.folder.path().join(name);
            let failure = appliance.refused(&on(&sshd, &path), &Watcher::accepting()).await;
            assert_eq!(failure.code, Code::RemoteFile, "{failure}");
            assert!(failure.message.contains(path.to_str().unwrap()), "{failure}");
        }
    }
    let sshd = appliance.sshd(SshdOptions::default());
    let fifo = source.folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let failure = appliance.refused(&on(&sshd, &fifo), &Watcher::accepting()).await;
    assert_eq!(failure.code, Code::RemoteFile);
    assert!(failure.message.contains("not a regular file"), "{failure}");
}

#[tokio::test]
async fn reading_goes_on_from_any_byte() {
    let (appliance, source) = (Appliance::new(), Source::new(5_000_003));
    let sshd = appliance.sshd(SshdOptions::default());
    let location = on(&sshd, &source.path());
    for from in [0, 1, 32_768, 4_999_999, 5_000_003] {
        let file = appliance.open(&location, &Watcher::accepting()).await.unwrap();
        let (result, bytes) = read(file, from as u64).await;
        assert_eq!(result.unwrap(), Finished::Whole);
        assert!(bytes == source.bytes[from..], "from {from}");
    }
    let file = appliance.open(&location, &Watcher::accepting()).await.unwrap();
    let (result, bytes) = read(file, 5_000_004).await;
    assert_eq!((result.unwrap_err().code, bytes), (Code::RemoteFile, vec![]));
}

#[tokio::test]
async fn a_cut_fetch_that_is_repeated_brings_only_the_rest() {
    let (appliance, source) = (Appliance::new(), Source::new(20_000_000));
    let sshd = appliance.sshd(SshdOptions::default());
    let relay = Relay::to(sshd.address());
    let location = Location { port: relay.port(), ..on(&sshd, &source.path()) };
    let cut = 1_000_000 + u64::from(source.bytes[0]) * 60_000;
    relay.cut_at(cut);
    let file = appliance.open(&location, &Watcher::accepting()).await.unwrap();
    let modified = file.modified;
    let (result, first) = read(file, 0).await;
    assert_eq!(result.unwrap_err().code, Code::ConnectionLost);
    assert!(first == source.bytes[..first.len()]);
    relay.cut_at(u64::MAX);
    let before = relay.sent();
    let file = appliance.open(&location, &Watcher::default()).await.unwrap();
    assert_eq!((file.size, file.modified), (source.bytes.len() as u64, modified));
    let (result, rest) = read(file, first.len() as u64).await;
    assert_eq!(result.unwrap(), Finished::Whole);
    assert!(rest == source.bytes[first.len()..]);
    let brought = relay.sent() - before;
    assert!(brought < rest.len() as u64 + 200_000, "{brought} bytes for {}", rest.len());
}

#[tokio::test]
async fn a_server_that_falls_silent_is_named_as_stalled() {
    let (mut appliance, source) = (Appliance::new(), Source::new(50_000_000));
    appliance.options.stall_timeout = Duration::from_millis(1500);
    for sftp in [true, false] {
        let sshd = appliance.sshd(SshdOptions { sftp, ..SshdOptions::default() });
        let relay = Relay::to(sshd.address());
        let location = Location { port: relay.port(), ..on(&sshd, &source.path()) };
        let file = appliance.open(&location, &Watcher::accepting()).await.unwrap();
        let (out, mut pieces) = mpsc::channel(1);
        let reading = tokio::spawn(file.read(0, out));
        assert!(pieces.recv().await.is_some());
        relay.freeze();
        while pieces.recv().await.is_some() {}
        assert_eq!(reading.await.unwrap().unwrap_err().code, Code::Stalled);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_while_scp_reads_is_no_success() {
    let (appliance, source) = (Appliance::new(), Source::new(20_000_000));
    let sshd = appliance.sshd(SshdOptions { sftp: false, ..SshdOptions::default() });
    let relay = Relay::to(sshd.address());
    relay.cut_at(5_000_000);
    let location = Location { port: relay.port(), ..on(&sshd, &source.path()) };
    let failure = appliance.refused(&location, &Watcher::accepting()).await;
    assert_eq!(failure.code, Code::ConnectionLost, "{failure}");
}

#[tokio::test]
async fn who_stops_taking_bytes_stops_the_server() {
    let (appliance, source) = (Appliance::new(), Source::new(100_000_000));
    for sftp in [true, false] {
        let sshd = appliance.sshd(SshdOptions { sftp, ..SshdOptions::default() });
        let relay = Relay::to(sshd.address());
        let location = Location { port: relay.port(), ..on(&sshd, &source.path()) };
        let file = appliance.open(&location, &Watcher::accepting()).await.unwrap();
        let (out, mut pieces) = mpsc::channel(1);
        let reading = tokio::spawn(file.read(0, out));
        assert!(pieces.recv().await.is_some());
        // Nobody takes anything: the server's bytes stop where windows and buffers are full.
        let mut last = 0;
        while relay.sent() != last {
            last = relay.sent();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!(last < 40_000_000, "{last} bytes were sent at once");
        drop(pieces);
        assert_eq!(reading.await.unwrap().unwrap(), Finished::Stopped);
    }
}

#[tokio::test]
async fn keys_are_exchanged_anew_many_times_without_a_hang() {
    let (mut appliance, source) = (Appliance::new(), Source::new(200 << 20));
    for (ours, config) in [(Some(16 << 20), vec![]), (None, vec!["RekeyLimit 16M".to_owned()])] {
        appliance.options.rekey_read_limit = ours;
        for sftp in [true, false] {
            let config = config.clone();
            let sshd = appliance.sshd(SshdOptions { sftp, config, ..SshdOptions::default() });
            let bytes = appliance.fetch(&on(&sshd, &source.path()), &Watcher::accepting()).await.unwrap();
            assert!(bytes == source.bytes);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_reached_or_resolved_is_named() {
    let appliance = Appliance::impatient();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let failure = appliance.refused(&at(V4, free, "admin", Path::new("x")), &Watcher::accepting()).await;
    assert_eq!(failure.code, Code::HostUnreachable);
    assert!(failure.message.contains(&format!("127.0.0.1:{free}")), "{failure}");
    let location = at(V6, free, "admin", Path::new("x"));
    let failure = appliance.refused(&location, &Watcher::accepting()).await;
    assert!(failure.message.contains(&format!("[::1]:{free}")), "{failure}");
    let location = Location { host: "no-such-host.invalid".to_owned(), ..location };
    let failure = appliance.refused(&location, &Watcher::accepting()).await;
    assert_eq!(failure.code, Code::NameUnresolved);
    assert!(failure.message.contains("no-such-host.invalid"), "{failure}");
    for host in ["", "a b", "a,b", "*", "evil\nhost", "[::1]"] {
        let location = Location { host: host.to_owned(), ..location.clone() };
        assert_eq!(
            appliance.refused(&location, &Watcher::accepting()).await.code,
            Code::BadRequest,
            "{host:?}"
        );
    }
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let (appliance, source) = (Appliance::new(), Source::new(10));
    // `localhost` is ::1 and 127.0.0.1 in some order, and the server is on one of them.
    for listen in [V4, V6] {
        let sshd = appliance.sshd(SshdOptions { listen, ..SshdOptions::default() });
        let location = Location { host: "localhost".to_owned(), ..on(&sshd, &source.path()) };
        let found = appliance.fetch(&location, &Watcher::accepting()).await;
        let both = fs::read_to_string("/etc/hosts").is_ok_and(|hosts| {
            hosts.lines().any(|line| {
                line.starts_with("::1") && line.split_whitespace().any(|name| name == "localhost")
            })
        });
        if listen == V4 || both {
            assert_eq!(found.unwrap(), source.bytes);
        }
    }
}

#[tokio::test]
async fn what_is_no_ssh_server_is_named() {
    let appliance = Appliance::impatient();
    for (bytes, code) in [
        (&b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"[..], Code::Stalled),
        (&[b'x'; 2000][..], Code::RemoteProtocol),
        (b"SSH-2.0-rogue\r\n\xff\xff\xff\xff\xff\xff\xff\xff", Code::RemoteProtocol),
        (b"SSH-2.0-rogue\r\n\x00\x00\x00\x0c\x04\x14garbage....", Code::RemoteProtocol),
        (b"SSH-2.0-rogue\r\n", Code::Stalled),
        (b"", Code::Stalled),
    ] {
        let (address, task) = raw(bytes).await;
        let location = at(address.ip(), address.port(), "admin", Path::new("x"));
        let failure = appliance.refused(&location, &Watcher::accepting()).await;
        assert_eq!(failure.code, code, "{bytes:?}: {failure}");
        assert!(failure.message.contains(&address.to_string()), "{failure}");
        task.abort();
    }
}

#[tokio::test]
async fn a_banner_is_shown_without_its_escapes_and_a_flood_of_them_ends_it() {
    let (appliance, file) = (Appliance::new(), noise(4, 1000));
    let banner = Some("Only for \x1b]0;you\x07 owners\r\n\u{202e}second line\n".to_owned());
    let rogue =
        Rogue::start(Script { any_key: true, banner, sftp: honest(&file), ..Script::default() }).await;
    let watcher = Watcher::accepting();
    appliance.fetch(&on_rogue(&rogue), &watcher).await.unwrap();
    let notes = watcher.notes();
    assert!(
        notes.contains("Only for \\u{1b}]0;you\\u{7} owners") && notes.contains("\\u{202e}second"),
        "{notes}"
    );
    let banner = Some("spam\n".repeat(10_000));
    let rogue =
        Rogue::start(Script { any_key: true, banner, sftp: honest(&file), ..Script::default() }).await;
    let failure = appliance.refused(&on_rogue(&rogue), &Watcher::accepting()).await;
    assert_eq!(failure.code, Code::RemoteProtocol);
    assert!(failure.message.contains("banner"), "{failure}");
}

#[tokio::test]
async fn an_sftp_server_may_answer_in_any_order_and_in_small_pieces() {
    let (appliance, file) = (Appliance::new(), noise(5, 3_000_001));
    for trick in [Trick::None, Trick::Reversed, Trick::Short(10_000), Trick::Short(32_767)] {
        let sftp = Some(Sftp { file: file.as_slice().into(), trick });
        let rogue = Rogue::start(Script { any_key: true, sftp, ..Script::default() }).await;
        let bytes = appliance.fetch(&on_rogue(&rogue), &Watcher::accepting()).await.unwrap();
        assert!(bytes == file, "{trick:?}");
    }
}

#[tokio::test]
async fn whatever_a_hostile_sftp_server_does_ends_in_one_clear_failure() {
    let file = noise(6, 3_000_001);
    for (trick, code, words) in [
        (Trick::Text, Code::RemoteProtocol, "text that begins \"Welc\""),
        (Trick::More(1), Code::RemoteProtocol, "32769 bytes"),
        (Trick::More(1 << 20), Code::RemoteProtocol, "bytes"),
        (Trick::Empty, Code::RemoteProtocol, "0 bytes"),
        (Trick::WrongId, Code::RemoteProtocol, "nothing asked for"),
        (Trick::Twice, Code::RemoteProtocol, "nothing asked for"),
        (Trick::Length(u32::MAX), Code::RemoteProtocol, "4294967295 bytes"),
        (Trick::Length(0), Code::RemoteProtocol, "0 bytes"),
        (Trick::Size(4_000_000), Code::RemoteFile, "had 4000000 bytes"),
        (Trick::Size(1 << 40), Code::ArchiveTooLarge, "1099511627776"),
        (Trick::Size(u64::MAX), Code::ArchiveTooLarge, "18446744073709551615"),
        (Trick::Hangs(1_000_000), Code::Stalled, "1.5 s"),
        (Trick::Mode(0o040_755), Code::RemoteFile, "folder"),
        (Trick::Mode(0o010_644), Code::RemoteFile, "not a regular file"),
        (Trick::Closes, Code::RemoteProtocol, "neither SFTP nor"),
    ] {
        // One of its own each: a port may come again, with another server's key.
        let mut appliance = Appliance::impatient();
        appliance.options.max_size = 1 << 30;
        let sftp = Some(Sftp { file: file.as_slice().into(), trick });
        let rogue = Rogue::start(Script { any_key: true, sftp, ..Script::default() }).await;
        let failure = appliance.refused(&on_rogue(&rogue), &Watcher::accepting()).await;
        assert_eq!(failure.code, code, "{trick:?}: {failure}");
        assert!(failure.message.contains(words), "{trick:?}: {failure}");
    }
}

#[tokio::test]
async fn a_file_that_has_grown_is_read_to_the_size_that_was_said() {
    let (appliance, file) = (Appliance::new(), noise(7, 1_000_000));
    let sftp = Some(Sftp { file: file.as_slice().into(), trick: Trick::Size(900_000) });
    let rogue = Rogue::start(Script { any_key: true, sftp, ..Script::default() }).await;
    let bytes = appliance.fetch(&on_rogue(&rogue), &Watcher::accepting()).await.unwrap();
    assert!(bytes == file[..900_000]);
}

#[tokio::test]
async fn whatever_a_hostile_scp_server_does_ends_in_one_clear_failure() {
    use Step::{Errors, Exit, Flood, Hang, Send, Wait};
    let send = |text: &str| Send(text.as_bytes().to_vec());
    let record = || send("C0644 5 fw.tar\n");
    let (file, remote, lost) = (Code::RemoteFile, Code::RemoteProtocol, Code::ConnectionLost);
    for (steps, code, words) in [
        (vec![Wait, send("D0755 0 fw.tar\n"), Wait, Exit(0)], file, "folder"),
        (vec![Wait, send("D0755 0 ../..\n"), Wait, Exit(0)], file, "folder"),
        (vec![Wait, send("E\n"), Wait, Exit(0)], remote, "\"E\""),
        (vec![Wait, send("T1 0 1 0\n"), Wait, send("T1 0 1 0\n"), Hang], remote, "T1 0 1 0"),
        (vec![Wait, record(), Wait, send("hello\0"), Wait, record(), Hang], remote, "more than the 5 bytes"),
        (vec![Wait, record(), Wait, send("hello, you\0"), Wait, Exit(0)], remote, "more than the 5 bytes"),
        (vec![Wait, record(), Wait, send("hell"), Exit(0)], file, "sent 4"),
        (vec![Wait, record(), Wait, send("hello"), Exit(0)], lost, "status 0"),
        (vec![Wait, record(), Wait, send("hello\0"), Wait, Exit(1)], lost, "status 1"),
        (vec![Wait, record(), Wait, send("hello\0"), Wait], lost, "before its end"),
        (
            vec![Wait, record(), Wait, send("hello\x01scp: fw.tar: I/O \x1b[31merror\n"), Wait, Exit(1)],
            file,
            "I/O",
        ),
        (vec![Wait, record(), Wait, send("hello\0"), Wait, Hang], Code::Stalled, "1.5 s"),
        (
            vec![Wait, send("C0644 18446744073709551615 x\n"), Hang],
            Code::ArchiveTooLarge,
            "18446744073709551615",
        ),
        (vec![Wait, send("C0644 99999999999999999999999 x\n"), Hang], remote, "SCP record"),
        (vec![Wait, send("C0644 -5 x\n"), Hang], remote, "SCP record"),
        (vec![Wait, send("C\n"), Hang], remote, "SCP record"),
        (
            vec![Wait, send("\x01scp: fw.tar: No such file\x1b[2J\n"), Wait, Exit(1)],
            file,
            "No such file\\u{1b}",
        ),
        (vec![Wait, send("\x02fatal\n"), Exit(1)], file, "fatal"),
        (vec![Wait, Errors(b"sh: scp: not found\n".to_vec()), Exit(127)], remote, "status 127"),
        (vec![Wait, send("Welcome!\n"), Hang], remote, "Welcome!"),
        (vec![Wait, Flood(vec![b'C'; 30_000])], remote, "more than 1024 bytes"),
        (vec![Wait, Hang], Code::Stalled, "1.5 s"),
        (vec![Wait, record(), Wait, send("he"), Hang], Code::Stalled, "1.5 s"),
        (
            vec![Wait, record(), Wait, send("hello\0"), Wait, Flood(vec![0; 30_000])],
            remote,
            "more than the 5 bytes",
        ),
        (vec![], lost, "before its end"),
    ] {
        // One of its own each: a port may come again, with another server's key.
        let mut appliance = Appliance::impatient();
        appliance.options.max_size = 1 << 30;
        let rogue =
            Rogue::start(Script { any_key: true, exec: Some(steps.clone()), ..Script::default() }).await;
        let failure = appliance.refused(&on_rogue(&rogue), &Watcher::accepting()).await;
        assert_eq!(failure.code, code, "{steps:?}: {failure}");
        assert!(failure.message.contains(words), "{steps:?}: {failure}");
        assert!(rogue.seen().contains(&"exec scp -f 'fw.tar'".to_owned()), "{:?}", rogue.seen());
    }
}

#[tokio::test]
async fn the_name_and_mode_that_a_server_gives_are_not_used() {
    let appliance = Appliance::new();
    let exec = Some(vec![
        Step::Wait,
        Step::Send(b"T1 0 1 0\n".to_vec()),
        Step::Wait,
        Step::Send(b"C7777 5 ../../etc/passwd\n".to_vec()),
        Step::Wait,
        Step::Send(b"hello\0".to_vec()),
        Step::Wait,
        Step::Exit(0),
    ]);
    let rogue = Rogue::start(Script { any_key: true, exec, ..Script::default() }).await;
    assert_eq!(appliance.fetch(&on_rogue(&rogue), &Watcher::accepting()).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_flood_of_error_output_is_no_progress() {
    let appliance = Appliance::impatient();
    let mut exec = vec![Step::Wait];
    exec.extend((0..2000).map(|_| Step::Errors(vec![b'!'; 10_000])));
    exec.push(Step::Hang);
    let rogue = Rogue::start(Script { any_key: true, exec: Some(exec), ..Script::default() }).await;
    assert_eq!(appliance.refused(&on_rogue(&rogue), &Watcher::accepting()).await.code, Code::Stalled);
}

#[tokio::test]
async fn a_server_that_closes_after_login_is_named() {
    let appliance = Appliance::impatient();
    let rogue = Rogue::start(Script { any_key: true, ..Script::default() }).await;
    let failure = appliance.refused(&on_rogue(&rogue), &Watcher::accepting()).await;
    assert_eq!(failure.code, Code::RemoteProtocol);
    assert!(failure.message.contains("neither SFTP nor the execution of scp"), "{failure}");
}

#[test]
fn the_device_key_is_made_once_for_its_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path(), Arc::new(Direct)).unwrap();
    let load = || DeviceKey::load_or_create(&folder, Path::new("id"), "fw-a");
    let line = load().unwrap().public_line();
    assert_eq!(load().unwrap().public_line(), line);
    assert!(line.starts_with("ssh-ed25519 AAAA") && line.ends_with(" fw-a"), "{line}");
    assert_eq!(folder.stat("id").unwrap().mode, 0o600);
    fs::write(place.path().join("id"), "damaged").unwrap();
    assert_eq!(load().err().unwrap().code, Code::StateUnreadable);
}
