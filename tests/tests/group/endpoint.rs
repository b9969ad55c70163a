//! The endpoint for members, on loopback: what a session may do, and what it may not.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use reinstate_agent::peers::{Door, Session};
use reinstate_api::{Code, Lock, Phase, Role, Secret};
use reinstate_tests::group::Roster;
use russh_sftp::protocol::{FileAttributes, OpenFlags};

use crate::site::Site;

impl Site {
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.place.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// OpenSSH's own client with a batch of commands.
    async fn sftp(&self, key: &str, batch: &str) -> Output {
        let key = self.file("key", key);
        let known = format!("[127.0.0.1]:{} {}\n", self.port, self.roster.members[0].host_key.1);
        let known = self.file("known_hosts", &known);
        let (port, batch) = (self.port.to_string(), batch.to_owned());
        let run = move || {
            let mut sftp = Command::new("sftp")
                .args(["-b", "-", "-P", &port, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
                .args(["-o", "StrictHostKeyChecking=yes", "-F", "none"])
                .arg("-o")
                .arg(format!("UserKnownHostsFile={}", known.display()))
                .arg("-i")
                .arg(key)
                .arg("anybody@127.0.0.1")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            sftp.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
            sftp.wait_with_output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

#[tokio::test]
async fn the_stock_sftp_client_lists_and_reads_and_is_refused_everything_else() {
    let site = Site::open().await;
    let held = site.a_lock();
    site.lock.take(&held).unwrap();
    let (a, b) = (site.place.path().join("a"), site.place.path().join("b"));
    let batch = format!("ls -l\nget identity {}\nget restore.lock {}\n", a.display(), b.display());
    let read = site.sftp(&site.roster.key, &batch).await;
    assert!(read.status.success(), "{}", said(&read));
    assert!(said(&read).contains("restore.lock") && said(&read).contains("identity"));
    assert_eq!(fs::read(a).unwrap(), site.identity().to_bytes().unwrap());
    assert_eq!(toml::from_str::<Lock>(&fs::read_to_string(b).unwrap()).unwrap(), held);
    let upload = site.file("upload", "something");
    let upload = upload.display();
    for refused in [
        format!("put {upload} restore.lock"),
        format!("put {upload} other"),
        format!("put {upload} identity"),
        "rm restore.lock".into(),
        "rm identity".into(),
        "rename identity restore.lock".into(),
        "mkdir folder".into(),
        "rmdir /".into(),
        "chmod 777 identity".into(),
        "symlink identity other".into(),
        "ln identity other".into(),
        "get ../../etc/passwd".into(),
        "get /etc/passwd".into(),
        "cd /etc".into(),
    ] {
        let output = site.sftp(&site.roster.key, &format!("{refused}\n")).await;
        assert!(!output.status.success(), "{refused}: {}", said(&output));
    }
    assert_eq!(site.lock.read().unwrap(), Some(held), "nothing of it has changed the lock");
}

#[tokio::test]
async fn only_the_groups_key_gets_in_and_only_the_pinned_host_key_is_believed() {
    let site = Site::open().await;
    let stranger = Roster::new("other", &[Role::Primary]);
    let output = site.sftp(&stranger.key, "ls\n").await;
    assert!(!output.status.success() && said(&output).contains("Permission denied"), "{}", said(&output));
    let refused = Session::open(&site.door(), site.port, &[Secret::new(stranger.key.clone())]).await;
    let failure = refused.err().unwrap();
    assert_eq!(failure.code, Code::AuthenticationFailed);
    assert!(failure.message.contains("does not take this group's key"), "{failure}");
    // The right one is found behind a wrong one: before and after a restore it may be another.
    let keys = [Secret::new(stranger.key), Secret::new(site.roster.key.clone())];
    Session::open(&site.door(), site.port, &keys).await.unwrap();

    let other = stranger.members[0].host_key.1.clone();
    let changed = Door { host_keys: vec![other], ..site.door() };
    let failure = Session::open(&changed, site.port, &keys[1..]).await.err().unwrap();
    assert_eq!(failure.code, Code::PeerMismatch);
    assert_eq!(failure.message.matches("SHA256:").count(), 2, "both values: {failure}");
}

#[tokio::test]
async fn a_lock_is_created_once_and_taken_away_by_its_own_restore_only() {
    let site = Site::open().await;
    let (first, second) = (site.a_lock(), site.a_lock());
    let session = site.session().await;
    assert_eq!(session.lock().await.unwrap(), None);
    assert_eq!(session.create(&first).await.unwrap(), None);
    assert_eq!(session.create(&first).await.unwrap(), None, "again");
    let other = site.session().await;
    let there = other.create(&second).await.unwrap();
    assert_eq!(there.map(|lock| lock.id), Some(first.id));
    assert_eq!(other.update(&second).await.unwrap_err().code, Code::LockLost);
    other.release(second.id).await.unwrap();
    assert_eq!(site.lock.read().unwrap().map(|lock| lock.id), Some(first.id));
    let committing = Lock { phase: Phase::Committing, ..first.clone() };
    other.update(&committing).await.unwrap();
    assert_eq!(site.lock.read().unwrap(), Some(committing));
    site.session().await.release(first.id).await.unwrap();
    assert_eq!(site.lock.read().unwrap(), None);
}

#[tokio::test]
async fn a_lock_for_a_device_that_is_no_other_member_is_refused() {
    let site = Site::open().await;
    for device in ["0b8e2a55-7b1c-4f0a-9d31-5a7f0c9e1d22", site.roster.members[0].uuid.as_str()] {
        let lock = Lock { device: device.into(), ..site.a_lock() };
        let failure = site.session().await.create(&lock).await.unwrap_err();
        assert!(failure.message.contains("no other member"), "{failure}");
    }
    assert_eq!(site.lock.read().unwrap(), None);
}

#[tokio::test]
async fn an_upload_that_breaks_off_or_never_ends_leaves_nothing() {
    let site = Site::open().await;
    let bytes = toml::to_string(&site.a_lock()).unwrap().into_bytes();
    let new = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
    // Broken off before it is closed.
    let session = site.session().await;
    let sftp = session.sftp();
    let handle = sftp.open("/restore.lock", new, FileAttributes::empty()).await.unwrap().handle;
    sftp.write(&handle, 0, bytes.clone()).await.unwrap();
    drop(session);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(site.lock.read().unwrap(), None);
    // Never ending.
    let session = site.session().await;
    let sftp = session.sftp();
    let handle = sftp.open("/restore.lock", new, FileAttributes::empty()).await.unwrap().handle;
    let (mut sent, chunk) = (0, vec![b'#'; 4096]);
    let refused = loop {
        match sftp.write(&handle, sent, chunk.clone()).await {
            Ok(_) => sent += chunk.len() as u64,
            Err(refused) => break refused,
        }
        assert!(sent <= 16 << 10, "it goes on for ever");
    };
    assert!(refused.to_string().contains("at most 16 KiB"), "{refused}");
    assert!(sftp.close(&handle).await.is_err());
    // Not a lock at all, cut, and not in order.
    for (offset, content) in [(0, &b"nothing"[..]), (0, &bytes[..20]), (7, &bytes[..])] {
        let handle = sftp.open("/restore.lock", new, FileAttributes::empty()).await.unwrap().handle;
        let written = sftp.write(&handle, offset, content.to_vec()).await;
        assert!(written.is_err() || sftp.close(&handle).await.is_err());
    }
    assert_eq!(site.lock.read().unwrap(), None);
    let left: Vec<_> = fs::read_dir(site.place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
}

#[tokio::test]
async fn one_address_has_a_bounded_number_of_sessions_and_silent_ones_are_ended() {
    let site = Site::open().await;
    let mut kept = Vec::new();
    for _ in 0..40 {
        kept.push(tokio::net::TcpStream::connect(("127.0.0.1", site.port)).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut open = 0;
    for stream in &kept {
        let mut first = [0; 3];
        let greeted = tokio::time::timeout(Duration::from_millis(20), stream.readable()).await.is_ok();
        if greeted && matches!(stream.try_read(&mut first), Ok(3)) && &first == b"SSH" {
            open += 1;
        }
    }
    assert!((1..=6).contains(&open), "{open} sessions of one address");
    // Those who never say who they are make room again.
    let until = std::time::Instant::now() + Duration::from_secs(40);
    let keys = [Secret::new(site.roster.key.clone())];
    while Session::open(&site.door(), site.port, &keys).await.is_err() {
        assert!(std::time::Instant::now() < until, "silent sessions are never ended");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_no_answer() {
    let mut site = Site::closed();
    site.serve_as(b"format = 1\n".to_vec()).await;
    let failure = site.session().await.identity().await.unwrap_err();
    assert_eq!(failure.code, Code::PeerProtocol);
    assert!(failure.message.contains("identity of fw-a at 127.0.0.1"), "{failure}");
}
