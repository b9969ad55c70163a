//! The SFTP subsystem as any client may speak to it, packet by packet.

use std::fs;
use std::io::Write;
use std::process::{Child, ChildStdin, ChildStdout};

use reinstate_sftp::packet::{self, Fields, Frame, Input, MAX_DATA, MAX_PACKET, put_string};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::login::Client;

use super::{login, login_to, names, wait_until};

const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const DENIED: u32 = 3;
const FAILURE: u32 = 4;
const BAD: u32 = 5;
const UNSUPPORTED: u32 = 8;

const WRITING: u32 = 2 | 8 | 16;

/// Fields of a request.
#[derive(Default)]
struct Request(Vec<u8>);

impl Request {
    fn text(self, text: impl AsRef<[u8]>) -> Self {
        let mut all = self.0;
        put_string(&mut all, text.as_ref());
        Self(all)
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }
}

fn with(text: impl AsRef<[u8]>) -> Request {
    Request::default().text(text)
}

fn open(name: impl AsRef<[u8]>, flags: u32) -> Request {
    with(name).u32(flags).u32(0)
}

/// A client of the subsystem.
struct Sftp {
    ssh: Child,
    to: ChildStdin,
    from: Input<ChildStdout>,
    next: u32,
}

impl Sftp {
    fn open(client: &Client) -> Self {
        let mut ssh = client.subsystem();
        let (to, from) = (ssh.stdin.take().unwrap(), Input::new(ssh.stdout.take().unwrap()));
        let mut sftp = Self { ssh, to, from, next: 3 };
        // The version takes the number's place.
        assert_eq!(sftp.ask(packet::INIT, Request::default()).0, packet::VERSION);
        sftp
    }

    fn send(&mut self, kind: u8, request: Request) -> u32 {
        let id = self.next;
        self.next += 1;
        let mut all = ((request.0.len() + 5) as u32).to_be_bytes().to_vec();
        all.push(kind);
        all.extend(id.to_be_bytes());
        all.extend(request.0);
        self.to.write_all(&all).unwrap();
        id
    }

    fn answer(&mut self, id: u32) -> (u8, Vec<u8>) {
        let Some(Frame::Whole(mut fields)) = self.from.frame().unwrap() else { panic!("no answer to {id}") };
        let kind = fields.u8().unwrap();
        assert_eq!(fields.u32().unwrap(), id);
        (kind, fields.0.to_vec())
    }

    fn ask(&mut self, kind: u8, request: Request) -> (u8, Vec<u8>) {
        let id = self.send(kind, request);
        self.answer(id)
    }

    fn status(&mut self, kind: u8, request: Request) -> (u32, String) {
        let (kind, answer) = self.ask(kind, request);
        assert_eq!(kind, packet::STATUS, "{answer:?}");
        let mut fields = Fields(&answer);
        let code = fields.u32().unwrap();
        (code, String::from_utf8(fields.string().unwrap().to_vec()).unwrap())
    }

    fn handle(&mut self, kind: u8, request: Request) -> Vec<u8> {
        let (kind, answer) = self.ask(kind, request);
        let shown = String::from_utf8_lossy(&answer);
        assert_eq!(kind, packet::HANDLE, "{shown}");
        Fields(&answer).string().unwrap().to_vec()
    }

    fn put(&mut self, name: &str, content: &[u8]) {
        let handle = self.handle(packet::OPEN, open(name, WRITING));
        let mut at = 0;
        for piece in content.chunks(MAX_DATA) {
            let request = with(&handle).u64(at).text(piece);
            assert_eq!(self.status(packet::WRITE, request).0, OK);
            at += piece.len() as u64;
        }
        assert_eq!(self.status(packet::CLOSE, with(&handle)), (OK, String::new()));
    }
}

impl Drop for Sftp {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

#[test]
fn every_refusal_has_a_status_and_a_sentence_and_the_session_goes_on() {
    let (login, client) = login();
    let mut sftp = Sftp::open(&client);
    sftp.put("a.tar", b"content");
    let only = "only the files in /var/sf/backup";
    let folders = "there are no folders";
    let links = "there are no links";
    let extension = "there is no extension";
    for (kind, request, code, sentence) in [
        (
            packet::OPEN,
            open("a.tar", WRITING),
            FAILURE,
            "a.tar is in /var/sf/backup already, with 7 bytes; a backup is not written over: remove it first",
        ),
        (packet::OPEN, open("b.tar.part", WRITING), DENIED, "'b.tar.part' is not a backup's file name"),
        (packet::OPEN, open("-b", WRITING), DENIED, "'-b' is not a backup's file name"),
        (packet::OPEN, open(".b", WRITING), DENIED, "'.b' is not a backup's file name"),
        (packet::OPEN, open("b\\c", WRITING), DENIED, "is not a backup's file name"),
        (packet::OPEN, open("b\nc", WRITING), DENIED, "is not a backup's file name"),
        (packet::OPEN, open("x".repeat(201), WRITING), DENIED, "is not a backup's file name"),
        (packet::OPEN, open("b%2fc", 1), NO_SUCH_FILE, "there is no backup 'b%2fc'"),
        (packet::OPEN, open("a/b", WRITING), DENIED, only),
        (packet::OPEN, open("/etc/shadow", 1), DENIED, only),
        (packet::OPEN, open("/etc/x", WRITING), DENIED, only),
        (packet::OPEN, open("/var/sf/backup", 1), DENIED, only),
        (packet::OPEN, open("", WRITING), DENIED, only),
        (packet::OPEN, open("../b", WRITING), DENIED, "'..' is not followed"),
        (packet::OPEN, open("b\0.tar", WRITING), DENIED, "is not a backup's file name"),
        (packet::OPEN, open(b"b\xff.tar", WRITING), BAD, "is not UTF-8"),
        (packet::OPEN, open("b", 2 | 4 | 8), UNSUPPORTED, "written once, from its beginning"),
        (packet::OPEN, open("a.tar", 2), UNSUPPORTED, "written once, from its beginning"),
        (packet::OPEN, open("b", 3 | 8), UNSUPPORTED, "either read or written"),
        (packet::OPEN, open("b", 0), UNSUPPORTED, "either read or written"),
        (packet::OPEN, open("b", 1), NO_SUCH_FILE, "there is no backup 'b'"),
        (packet::OPEN, Request::default(), BAD, "ends before"),
        (packet::OPENDIR, with("/etc"), DENIED, only),
        (packet::OPENDIR, with("a.tar"), FAILURE, "a.tar is a file"),
        (packet::STAT, with("/etc"), NO_SUCH_FILE, only),
        (packet::LSTAT, with("b"), NO_SUCH_FILE, "there is no backup 'b'"),
        (packet::REALPATH, with("/etc"), DENIED, only),
        (packet::REALPATH, with(".."), DENIED, "'..' is not followed"),
        (packet::REMOVE, with("/etc/passwd"), DENIED, only),
        (packet::REMOVE, with("b"), NO_SUCH_FILE, "there is no backup 'b'"),
        (packet::REMOVE, with(".hidden"), DENIED, "is not a backup's file name"),
        (packet::MKDIR, with("b").u32(0), UNSUPPORTED, folders),
        (packet::RMDIR, with("/var/sf/backup"), UNSUPPORTED, folders),
        (packet::RENAME, with("a.tar").text("b.tar"), UNSUPPORTED, "keeps its name"),
        (packet::SYMLINK, with("/etc/passwd").text("b"), UNSUPPORTED, links),
        (packet::READLINK, with("a.tar"), UNSUPPORTED, links),
        (packet::EXTENDED, with("hardlink@openssh.com").text("a.tar").text("b"), UNSUPPORTED, extension),
        (packet::EXTENDED, with("posix-rename@openssh.com").text("a.tar").text("b"), UNSUPPORTED, extension),
        (packet::EXTENDED, with("copy-data").text("1").u64(0), UNSUPPORTED, extension),
        (packet::SETSTAT, with("a.tar").u32(1).u64(0), UNSUPPORTED, "are not changed"),
        (packet::SETSTAT, with("a.tar").u32(2).u64(0), UNSUPPORTED, "are not changed"),
        (packet::READ, with("none").u64(0).u32(1), FAILURE, "no file is open"),
        (packet::CLOSE, with("none"), FAILURE, "nothing is open"),
        (99, with("x"), UNSUPPORTED, "no request 99"),
    ] {
        let shown = format!("request {kind} {:?}", String::from_utf8_lossy(&request.0));
        let (was, said) = sftp.status(kind, request);
        assert!(was == code && said.contains(sentence), "{shown}: {was} {said}");
    }
    assert_eq!(names(&login), ["a.tar"]);
    assert_eq!(fs::read(login.backups().join("a.tar")).unwrap(), b"content");
}

#[test]
fn what_a_client_sets_after_it_has_copied_is_accepted_and_not_kept() {
    let (login, client) = login();
    let mut sftp = Sftp::open(&client);
    let handle = sftp.handle(packet::OPEN, open("a.tar", WRITING));
    assert_eq!(sftp.status(packet::WRITE, with(&handle).u64(0).text("12345")).0, OK);
    let mode_and_times = |request: Request| request.u32(4 | 8).u32(0o777).u32(1).u32(1);
    assert_eq!(sftp.status(packet::FSETSTAT, mode_and_times(with(&handle))).0, OK);
    assert_eq!(sftp.status(packet::FSETSTAT, with(&handle).u32(1).u64(5)).0, OK);
    assert_eq!(sftp.status(packet::FSETSTAT, with(&handle).u32(1).u64(3)).0, UNSUPPORTED);
    assert_eq!(sftp.status(packet::CLOSE, with(&handle)).0, OK);
    assert_eq!(sftp.status(packet::SETSTAT, mode_and_times(with("a.tar"))).0, OK);
    let about = fs::metadata(login.backups().join("a.tar")).unwrap();
    assert_eq!(about.len(), 5);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o7777, 0o640);
    // What another session has brought keeps what it has, and says so.
    let mut other = Sftp::open(&client);
    assert_eq!(other.status(packet::SETSTAT, mode_and_times(with("a.tar"))).0, UNSUPPORTED);
}

#[test]
fn a_backup_is_written_in_its_order_by_one_handle() {
    let (login, client) = login();
    let mut sftp = Sftp::open(&client);
    let handle = sftp.handle(packet::OPEN, open("a.tar", WRITING));
    let (code, said) = sftp.status(packet::WRITE, with(&handle).u64(10).text("late"));
    assert!(code == FAILURE && said.contains("byte 0 is the next one, not 10"), "{code} {said}");
    let (code, said) = sftp.status(packet::OPEN, open("b.tar", WRITING));
    assert!(code == FAILURE && said.contains("a.tar is open: one at a time"), "{code} {said}");
    assert_eq!(sftp.status(packet::WRITE, with("other").u64(0).text("x")).0, FAILURE);
    assert_eq!(sftp.status(packet::WRITE, with(&handle).u64(0).text("")).0, OK);
    assert_eq!(sftp.status(packet::WRITE, with(&handle).u64(0).text("abc")).0, OK);
    assert_eq!(sftp.status(packet::READ, with(&handle).u64(0).u32(3)).0, FAILURE);
    // A packet that is too long is skipped, and what comes after it is understood.
    let (code, said) = sftp.status(packet::WRITE, with(&handle).u64(3).text(vec![0; MAX_PACKET]));
    assert!(code == BAD && said.contains("at most 262144 are read"), "{code} {said}");
    assert_eq!(sftp.status(packet::WRITE, with(&handle).u64(3).text("def")).0, OK);
    assert!(names(&login) == ["a.tar.part"]);
    assert_eq!(sftp.status(packet::CLOSE, with(&handle)).0, OK);
    assert_eq!(fs::read(login.backups().join("a.tar")).unwrap(), b"abcdef");

    let handle = sftp.handle(packet::OPEN, open("a.tar", 1));
    for (offset, length, content) in [(4, 100, "ef"), (0, 2, "ab"), (2, 2, "cd"), (1, 5, "bcdef")] {
        let (kind, answer) = sftp.ask(packet::READ, with(&handle).u64(offset).u32(length));
        assert_eq!((kind, Fields(&answer).string().unwrap()), (packet::DATA, content.as_bytes()));
    }
    for offset in [6, 7, u64::MAX] {
        assert_eq!(sftp.status(packet::READ, with(&handle).u64(offset).u32(u32::MAX)).0, EOF);
    }
    // A handle that is not closed goes with its session.
    let handle = {
        let mut other = Sftp::open(&client);
        other.handle(packet::OPEN, open("b.tar", WRITING))
    };
    wait_until("the end of what was not closed", || names(&login) == ["a.tar"]);
    assert_eq!(sftp.status(packet::WRITE, with(handle).u64(0).text("x")).0, FAILURE);
}

#[test]
fn thousands_of_handles_are_asked_for_in_vain_and_at_no_cost() {
    let (login, client) = login();
    let mut sftp = Sftp::open(&client);
    sftp.put("a.tar", b"content");
    let daemon = login.machine.daemon().unwrap();
    let descriptors = || fs::read_dir(format!("/proc/{daemon}/fd")).unwrap().count();
    let before = descriptors();
    let handle = sftp.handle(packet::OPEN, open("a.tar", 1));
    for _ in 0..20 {
        let ids: Vec<_> = (0..250).map(|_| sftp.send(packet::OPEN, open("a.tar", 1))).collect();
        for id in ids {
            assert_eq!(sftp.answer(id).0, packet::STATUS);
        }
    }
    assert!(descriptors() <= before + 4, "{before} before, {} now", descriptors());
    assert_eq!(sftp.status(packet::CLOSE, with(handle)).0, OK);
    // One after another they are as many as are wanted.
    for _ in 0..300 {
        let handle = sftp.handle(packet::OPEN, open("a.tar", 1));
        assert_eq!(sftp.status(packet::CLOSE, with(handle)).0, OK);
    }
    wait_until("the end of the connections", || descriptors() <= before + 1);
}

#[test]
fn a_quota_that_is_reached_half_way_is_told_in_a_sentence_and_a_fifth_upload_is_refused() {
    let quota = "[backups]\nbytes = 20000000\n";
    let (login, client) = login_to(&Appliance::replacement().profile_override(quota));
    let mut sftp = Sftp::open(&client);
    let handle = sftp.handle(packet::OPEN, open("a.tar", WRITING));
    let piece = vec![7; MAX_DATA];
    let (mut at, mut last) = (0, (OK, String::new()));
    while last.0 == OK && at < 200_000_000 {
        last = sftp.status(packet::WRITE, with(&handle).u64(at).text(&piece));
        at += piece.len() as u64;
    }
    assert!(
        last.0 == FAILURE && last.1.contains("at most 20000000 are kept; remove old backups"),
        "{last:?}"
    );
    // The close says it again: a client that does not look at what it has written sees it there.
    assert_eq!(sftp.status(packet::CLOSE, with(&handle)), last);
    wait_until("nothing is left", || names(&login).is_empty());

    // As many sessions as one connection may have would be enough for it; these are connections of their own.
    let mut others: Vec<_> = (0..4).map(|_| Sftp::open(&client)).collect();
    for (number, other) in others.iter_mut().enumerate() {
        other.handle(packet::OPEN, open(format!("{number}.tar"), WRITING));
    }
    let (code, said) = sftp.status(packet::OPEN, open("4.tar", WRITING));
    assert!(
        code == FAILURE && said.contains("4 uploads to /var/sf/backup are under way; at most 4"),
        "{said}"
    );
    others.pop();
    wait_until("room for another", || names(&login).len() == 3);
    sftp.put("4.tar", b"x");
}
