//! A fetch that broke off goes on where it stopped, if the file on the server is still the same.

use std::fs;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use reinstate_api::Code;
use reinstate_tests::appliance::Appliance;
use reinstate_tests::forge::Forge;
use reinstate_tests::relay::Relay;
use reinstate_tests::sshd::{Sshd, SshdOptions};

use crate::scene::{Donor, FILE, Said, Scene, seed};

const LARGE: u64 = 3 << 20;

/// A real server behind a relay that counts what it sends.
struct Fetch {
    scene: Scene,
    relay: Relay,
    server: Sshd,
    size: u64,
    seed: u64,
}

impl Fetch {
    fn new(sftp: bool) -> Self {
        let seed = seed();
        let scene = Scene::of(Arc::new(Donor::large(LARGE)), Appliance::replacement());
        fs::remove_file(scene.kept(FILE)).unwrap();
        let authorized_keys = vec![scene.public_key()];
        let server = Sshd::start(&SshdOptions { sftp, authorized_keys, ..SshdOptions::default() });
        let relay = Relay::to(server.address());
        let size = scene.donor.archive.len() as u64;
        Self { scene, relay, server, size, seed }
    }

    /// A check: it fetches as a restore does, and asks nothing.
    fn command(&self) -> String {
        let given = format!("fingerprint {} check", self.server.fingerprint());
        self.scene.from(self.relay.address(), self.server.user(), FILE, &given)
    }

    /// Some place in the file, neither near its begin nor near its end.
    fn place(&self) -> u64 {
        self.size / 10 + self.seed % (self.size * 8 / 10)
    }

    /// Bytes that are here of a file that is not whole.
    fn here(&self) -> u64 {
        fs::metadata(self.scene.kept(&format!("{FILE}.part"))).map_or(0, |meta| meta.len())
    }

    /// The first try: the connection ends at a random byte. Answers with how many bytes are here.
    fn cut(&self) -> u64 {
        let place = self.place();
        self.relay.cut_at(place);
        let refused = self.scene.refused(&self.command(), "");
        let [failure] = &refused.failures[..] else { panic!("{:#?}", refused.failures) };
        assert_eq!(failure.code, Code::ConnectionLost, "{failure}");
        let here = self.here();
        // What the relay holds at that moment still comes.
        assert!((1..=place + (64 << 10)).contains(&here), "{here} bytes are here of {place}");
        assert!(here < self.size, "nothing was cut");
        here
    }

    /// The second try: it succeeds, and the file is what the server has. Answers with what was said,
    /// and with the bytes that the server sent for it.
    fn again(&self) -> (Said, u64) {
        self.relay.cut_at(u64::MAX);
        self.relay.limit(0);
        let before = self.relay.sent();
        let said = self.scene.say(&self.command(), "");
        assert_eq!(said.status, Some(0), "{said:?}");
        assert!(!said.text.contains("yes/no"), "the fingerprint was given: {said:?}");
        let served = fs::read(self.scene.served(FILE)).unwrap();
        assert!(fs::read(self.scene.kept(FILE)).unwrap() == served, "the finished file is another one");
        assert_eq!(self.here(), 0);
        (said, self.relay.sent() - before)
    }

    /// The server sent `bytes` of the file, and nothing more than the protocol around them.
    fn assert_sent(&self, sent: u64, bytes: u64) {
        let around = bytes / 20 + (128 << 10);
        assert!(
            (bytes..bytes + around).contains(&sent),
            "{sent} bytes were sent for {bytes} of {}",
            self.size
        );
    }

    fn goes_on(&self, here: u64) {
        let (said, sent) = self.again();
        let note = format!("going on after {here} of {} bytes", self.size);
        assert!(said.text.contains(&note), "'{note}' is not in {said:?}");
        self.assert_sent(sent, self.size - here);
    }

    fn begins_anew(&self) {
        let (said, sent) = self.again();
        assert!(!said.text.contains("going on after"), "{said:?}");
        self.assert_sent(sent, fs::metadata(self.scene.served(FILE)).unwrap().len());
    }
}

#[test]
fn a_fetch_that_was_cut_at_any_byte_downloads_only_the_rest() {
    let fetch = Fetch::new(true);
    let here = fetch.cut();
    fetch.goes_on(here);
}

#[test]
fn a_fetch_that_was_cut_twice_downloads_only_the_rest() {
    let fetch = Fetch::new(true);
    let first = fetch.cut();
    fetch.relay.cut_at(fetch.relay.sent() + (fetch.size - first) / 2);
    assert_eq!(fetch.scene.say(&fetch.command(), "").status, Some(1));
    let second = fetch.here();
    assert!(second > first, "{second} bytes are here, {first} were before");
    fetch.goes_on(second);
}

#[test]
fn a_fetch_in_whose_middle_the_daemon_was_killed_downloads_only_the_rest() {
    let fetch = Fetch::new(true);
    fetch.relay.limit(1_500_000);
    let mut shell = fetch.scene.spawn(&fetch.command());
    let place = fetch.place();
    while fetch.here() < place {
        assert!(shell.try_wait().unwrap().is_none(), "the fetch ended before byte {place}");
        sleep(Duration::from_millis(2));
    }
    fetch.scene.machine.kill9();
    assert_eq!(shell.wait().unwrap().code(), Some(3), "the agent is gone");
    fetch.scene.machine.restart_daemon().unwrap();
    let last = fetch.scene.history().remove(0);
    let codes: Vec<_> = last.outcome.failures().iter().map(|failure| failure.code).collect();
    assert_eq!(codes, [Code::Interrupted]);
    let here = fetch.here();
    assert!((place..fetch.size).contains(&here), "{here} bytes are here");
    fetch.goes_on(here);
}

#[test]
fn a_file_with_another_time_on_the_server_is_fetched_anew() {
    let fetch = Fetch::new(true);
    fetch.cut();
    modified(&fetch, |time| time - Duration::from_secs(60));
    fetch.begins_anew();
}

#[test]
fn a_file_with_another_size_on_the_server_is_fetched_anew() {
    let fetch = Fetch::new(true);
    fetch.cut();
    let time = fs::metadata(fetch.scene.served(FILE)).unwrap().modified().unwrap();
    let mut forge = Forge::open(&fetch.scene.donor.archive).unwrap();
    forge.put("files", "var/lib/appliance/file-lists/more.list", "one more\n").unwrap();
    fetch.scene.serve(FILE, &forge.write().unwrap());
    modified(&fetch, |_| time);
    fetch.begins_anew();
}

fn modified(fetch: &Fetch, change: impl Fn(SystemTime) -> SystemTime) {
    let file = fs::File::options().write(true).open(fetch.scene.served(FILE)).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    file.set_modified(change(time)).unwrap();
}

#[test]
fn a_fetch_by_legacy_scp_that_was_cut_is_fetched_anew() {
    let fetch = Fetch::new(false);
    fetch.cut();
    fetch.begins_anew();
}
