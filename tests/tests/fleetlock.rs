//! A lock service in place of lock files: against both known kinds of server, and against what a network
//! makes of them.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::peers::fleet::{Answer, Service};
use reinstate_agent::profile;
use reinstate_api::{Code, Failure};
use reinstate_tests::appliance::reference_profile;
use reinstate_tests::fleetlock::{Fleetlock, Kind, Mood};
use serde_json::{Value, json};

const KINDS: [Kind; 2] = [Kind::Airlock, Kind::Poseidon];
const THIS: &str = "7f4df1a2-0000-4000-8000-00000000000a";
const OTHER: &str = "7f4df1a2-0000-4000-8000-00000000000b";
const GROUP: &str = "edge.fw-1";

/// Enough for an attempt on a busy machine, and less than the first pause.
const SOON: Duration = Duration::from_secs(3);

/// Of an attempt, as it is documented.
const ATTEMPT: Duration = Duration::from_secs(15);

fn service(server: &Fleetlock) -> Service {
    Service::new(&server.url(), GROUP, server.authority()).unwrap()
}

fn wait<T>(doing: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(doing)
}

fn pre_reboot(server: &Fleetlock, id: &str) -> Result<Answer, Failure> {
    wait(service(server).pre_reboot(id))
}

fn steady_state(server: &Fleetlock, id: &str) -> Result<Answer, Failure> {
    wait(service(server).steady_state(id))
}

/// With what was said meanwhile.
fn acquire(service: &Service, patience: Duration) -> (Result<(), Failure>, Vec<String>) {
    let notes = Mutex::new(Vec::new());
    let acquired = wait(service.acquire(THIS, patience, &|note| notes.lock().unwrap().push(note)));
    (acquired, notes.into_inner().unwrap())
}

fn refused(service: &Service) -> Failure {
    let (acquired, notes) = acquire(service, Duration::from_secs(30));
    assert_eq!(notes, [""; 0], "it was asked again");
    acquired.unwrap_err()
}

#[test]
fn a_free_lock_is_granted_and_what_is_sent_is_what_the_protocol_says() {
    for kind in KINDS {
        let server = Fleetlock::start(kind).unwrap();
        let (acquired, notes) = acquire(&service(&server), Duration::ZERO);
        acquired.unwrap();
        assert_eq!(notes, [""; 0]);
        assert_eq!(server.holder(GROUP).as_deref(), Some(THIS));
        wait(service(&server).release(THIS)).unwrap();
        assert_eq!(server.holder(GROUP), None);
        let asked = server.asked();
        let paths: Vec<_> = asked.iter().map(|asked| asked.path.as_str()).collect();
        assert_eq!(paths, ["/v1/pre-reboot", "/v1/steady-state"]);
        for asked in asked {
            assert_eq!(asked.protocol.as_deref(), Some("true"));
            let body: Value = serde_json::from_str(&asked.body).unwrap();
            assert_eq!(body, json!({ "client_params": { "id": THIS, "group": GROUP } }));
        }
    }
}

#[test]
fn asking_twice_is_as_asking_once() {
    for kind in KINDS {
        let server = Fleetlock::start(kind).unwrap();
        for _ in 0..2 {
            assert!(pre_reboot(&server, THIS).unwrap().is_success());
            assert_eq!(server.holder(GROUP).as_deref(), Some(THIS));
        }
        for _ in 0..2 {
            assert!(steady_state(&server, THIS).unwrap().is_success());
            assert_eq!(server.holder(GROUP), None);
        }
    }
}

#[test]
fn a_lock_that_another_device_holds_is_refused_with_the_services_words() {
    for (kind, status, words) in [
        (Kind::Airlock, 500, "500 Internal Server Error: failed_lock: failed to lock semaphore: all 1 "),
        (Kind::Poseidon, 423, "423 Locked: lock_held: reboot lease lock unavailable, held by 7f4df1a2-"),
    ] {
        let server = Fleetlock::start(kind).unwrap();
        server.hold(GROUP, Some(OTHER));
        server.hold("another-group", Some(THIS));
        assert_eq!(pre_reboot(&server, THIS).unwrap().status, status);
        let (acquired, notes) = acquire(&service(&server), SOON);
        let why = acquired.unwrap_err();
        assert_eq!(why.code, Code::LockHeld);
        for part in [words, &server.url(), GROUP, THIS] {
            assert!(why.message.contains(part), "{part}: {why}");
        }
        assert!(!why.hint.is_empty());
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains(words) && notes[0].contains("; it is asked again in "), "{notes:?}");
        assert_eq!(server.holder(GROUP).as_deref(), Some(OTHER));
        assert_eq!(server.asked().len(), 3, "one by itself, then at the beginning and at the end");
    }
}

#[test]
fn a_lock_that_is_released_meanwhile_is_taken() {
    for kind in KINDS {
        let server = Fleetlock::start(kind).unwrap();
        server.hold(GROUP, Some(OTHER));
        let service = service(&server);
        let released = |_| server.hold(GROUP, None);
        wait(service.acquire(THIS, SOON, &released)).unwrap();
        assert_eq!(server.holder(GROUP).as_deref(), Some(THIS));
    }
}

#[test]
fn the_release_of_another_devices_lock_leaves_it_and_is_never_taken_for_more_than_it_is() {
    for kind in KINDS {
        let server = Fleetlock::start(kind).unwrap();
        server.hold(GROUP, Some(OTHER));
        let released = wait(service(&server).release(THIS));
        assert_eq!(server.holder(GROUP).as_deref(), Some(OTHER));
        match kind {
            Kind::Airlock => released.unwrap(),
            Kind::Poseidon => {
                let why = released.unwrap_err();
                assert_eq!(why.code, Code::LockHeld);
                assert!(why.message.contains("does not release") && why.message.contains(OTHER), "{why}");
                server.hold(GROUP, None);
                wait(service(&server).release(THIS)).unwrap();
            }
        }
    }
}

#[test]
fn a_store_that_is_down_is_asked_again_until_it_is_up() {
    for kind in KINDS {
        let server = Fleetlock::start(kind).unwrap();
        server.set(Mood::StoreDown);
        let service = service(&server);
        let up = |note: String| {
            assert!(note.contains("500 Internal Server Error: "), "{note}");
            server.set(Mood::Working);
        };
        wait(service.acquire(THIS, SOON, &up)).unwrap();
        assert_eq!(server.holder(GROUP).as_deref(), Some(THIS));

        server.set(Mood::StoreDown);
        let why = wait(service.release(THIS)).unwrap_err();
        assert_eq!(why.code, Code::LockHeld, "{why}");
        server.set(Mood::Working);
        wait(service.release(THIS)).unwrap();
    }
}

#[test]
fn the_pauses_grow_and_end_with_the_patience() {
    let server = Fleetlock::start(Kind::Poseidon).unwrap();
    server.hold(GROUP, Some(OTHER));
    let begun = Instant::now();
    let (acquired, notes) = acquire(&service(&server), Duration::from_secs(7));
    assert_eq!(acquired.unwrap_err().code, Code::LockHeld);
    let took = begun.elapsed().as_secs();
    assert!((7..7 + ATTEMPT.as_secs()).contains(&took), "{took} s");
    // At once, after 3.75 to 5 s, and at the end.
    assert_eq!((notes.len(), server.asked().len()), (2, 3), "{notes:?}");
}

#[test]
fn a_service_that_is_not_there_is_asked_again_and_not_waited_for_forever() {
    // Bound, so that nobody else answers there, and not listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let service = Service::new(&format!("http://{address}"), GROUP, None).unwrap();
    let (acquired, notes) = acquire(&service, SOON);
    let why = acquired.unwrap_err();
    assert_eq!(why.code, Code::LockService);
    assert!(why.message.contains("cannot be reached") && why.message.contains(&address.to_string()), "{why}");
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn a_connection_that_breaks_off_is_tried_again_and_a_lost_answer_does_not_lose_the_lock() {
    for mood in [Mood::Drop, Mood::LoseAnswer] {
        let server = Fleetlock::start(Kind::Airlock).unwrap();
        server.set(mood.clone());
        let again = |note: String| {
            assert!(note.contains("ended the connection"), "{note}");
            let granted = server.holder(GROUP).is_some();
            assert_eq!(granted, mood == Mood::LoseAnswer);
            server.set(Mood::Working);
        };
        wait(service(&server).acquire(THIS, SOON, &again)).unwrap();
        assert_eq!(server.holder(GROUP).as_deref(), Some(THIS));
        assert_eq!(server.asked().len(), 2);
    }
}

#[test]
fn a_server_of_another_authority_is_asked_nothing() {
    let (server, stranger) =
        (Fleetlock::start(Kind::Airlock).unwrap(), Fleetlock::start(Kind::Airlock).unwrap());
    let why = refused(&Service::new(&server.url(), GROUP, stranger.authority()).unwrap());
    assert_eq!(why.code, Code::LockService);
    assert!(why.message.contains("shows a certificate that is not accepted: "), "{why}");
    // The right authority, and a certificate for another name.
    let url = server.url().replace("127.0.0.1", "localhost");
    let why = refused(&Service::new(&url, GROUP, server.authority()).unwrap());
    assert!(why.message.contains("shows a certificate that is not accepted"), "{why}");
    assert_eq!((server.connections(), server.asked()), (2, vec![]));
}

#[test]
fn plain_http_is_for_this_machine_itself_only() {
    let server = Fleetlock::plain(Kind::Poseidon).unwrap();
    acquire(&service(&server), Duration::ZERO).0.unwrap();
    assert_eq!(server.holder(GROUP).as_deref(), Some(THIS));
    for host in ["192.0.2.7", "locks.example", "localhost"] {
        let why = Service::new(&format!("http://{host}"), GROUP, server.authority()).unwrap_err();
        assert_eq!(why.code, Code::LockService);
        assert!(why.message.contains(&format!("'http://{host}'")), "{why}");
    }
    // Plain where TLS is expected, and the other way round.
    let tls = Fleetlock::start(Kind::Poseidon).unwrap();
    let plainly = Service::new(&tls.url().replace("https", "http"), GROUP, None).unwrap();
    let secretly = Service::new(&server.url().replace("http", "https"), GROUP, tls.authority()).unwrap();
    for service in [plainly, secretly] {
        assert_eq!(acquire(&service, Duration::ZERO).0.unwrap_err().code, Code::LockService);
    }
    assert_eq!(tls.asked(), []);
}

#[test]
fn a_service_that_never_answers_is_given_up() {
    let server = Fleetlock::start(Kind::Airlock).unwrap();
    server.set(Mood::Silent);
    let begun = Instant::now();
    let service = service(&server);
    let (acquired, released) = wait(async {
        tokio::join!(service.acquire(THIS, Duration::from_secs(1), &|_| {}), service.release(THIS))
    });
    for why in [acquired.unwrap_err(), released.unwrap_err()] {
        assert_eq!(why.code, Code::LockService);
        assert!(why.message.contains("did not answer within 15 s"), "{why}");
    }
    let took = begun.elapsed();
    assert!(took >= ATTEMPT && took < ATTEMPT * 2, "{took:?}");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_body_without_end_is_not_read_and_does_not_hide_the_status() {
    let server = Fleetlock::start(Kind::Poseidon).unwrap();
    server.set(Mood::Talkative);
    let begun = Instant::now();
    let answer = pre_reboot(&server, THIS).unwrap();
    assert!(answer.is_success());
    assert_eq!(answer.text, "200 OK");
    server.hold(GROUP, Some(OTHER));
    assert_eq!(pre_reboot(&server, THIS).unwrap().text, "423 Locked");
    assert!(begun.elapsed() < ATTEMPT, "what is not read was waited for");
}

#[test]
fn nothing_but_200_is_a_success_and_a_redirect_is_not_followed() {
    let elsewhere = Fleetlock::plain(Kind::Airlock).unwrap();
    let server = Fleetlock::start(Kind::Airlock).unwrap();
    let to = format!("Location: {}/v1/pre-reboot", elsewhere.url());
    let mut asked = 0;
    for status in [201, 202, 204, 301, 302, 307, 308, 400, 401, 403, 404, 409] {
        server.set(Mood::Answer(status, to.clone()));
        let why = refused(&service(&server));
        assert_eq!(why.code, Code::LockService, "{status}");
        assert!(why.message.contains(&format!(": {status} ")), "{status}: {why}");
        asked += 1;
        assert_eq!(server.asked().len(), asked);
        assert!(!steady_state(&server, THIS).unwrap().is_success(), "{status}");
        asked += 1;
    }
    assert_eq!(elsewhere.connections(), 0);
    for status in [429, 502, 503, 504] {
        server.set(Mood::Answer(status, to.clone()));
        let (acquired, notes) = acquire(&service(&server), SOON);
        assert_eq!(acquired.unwrap_err().code, Code::LockService, "{status}");
        assert_eq!(notes.len(), 1, "{status}: it may pass");
    }
}

#[test]
fn a_request_that_the_service_does_not_understand_is_not_repeated() {
    for (kind, words) in [(Kind::Airlock, "invalid_client_identity"), (Kind::Poseidon, "decode_error")] {
        let server = Fleetlock::start(kind).unwrap();
        let notes = Mutex::new(0);
        let counted = |_| *notes.lock().unwrap() += 1;
        let why = wait(service(&server).acquire("", Duration::from_secs(30), &counted)).unwrap_err();
        assert_eq!((why.code, *notes.lock().unwrap()), (Code::LockService, 0));
        assert!(why.message.contains(&format!("400 Bad Request: {words}: ")), "{why}");
    }
}

#[test]
fn the_test_service_insists_on_the_protocol() {
    for (kind, no_header, no_json) in [
        (Kind::Airlock, "invalid_client_identity", "invalid_client_identity"),
        (Kind::Poseidon, "missing_header", "decode_error"),
    ] {
        let server = Fleetlock::plain(kind).unwrap();
        let good = r#"{"client_params":{"id":"a","group":"b"}}"#;
        for (header, body, says) in [
            ("", good, no_header),
            ("fleet-lock-protocol: false\r\n", good, no_header),
            ("fleet-lock-protocol: true\r\n", "{", no_json),
            ("fleet-lock-protocol: true\r\n", r#"{"client_params":{"id":"","group":"b"}}"#, no_json),
        ] {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            let length = body.len();
            let request =
                format!("POST /v1/pre-reboot HTTP/1.1\r\n{header}Content-Length: {length}\r\n\r\n{body}");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(says), "{answer}");
        }
        assert_eq!(server.holder("b"), None);
    }
}

/// What a configuration below a root of its own says.
fn configured(files: &[(&str, &str)]) -> Result<Option<Service>, Failure> {
    let open = |path: &Path| Folder::open(path, Arc::new(Direct)).unwrap();
    let (profile, _) = profile::load_from(&open(&reference_profile())).unwrap();
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("etc/appliance/ha");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
    Service::read(&open(root.path()), &profile)
}

#[test]
fn a_configuration_names_the_service_or_none_and_nothing_in_between() {
    const FILE: &str = "lock-service.conf";
    let server = Fleetlock::start(Kind::Poseidon).unwrap();
    let ca = server.authority().unwrap();
    let ca = ("lock-service-ca.pem", ca.as_str());
    let whole = format!("URL={}\nGROUP={GROUP}\n", server.url());
    let read = configured(&[(FILE, &whole), ca]).unwrap().unwrap();
    assert_eq!(read, service(&server));
    acquire(&read, Duration::ZERO).0.unwrap();

    for none in [&[][..], &[ca], &[(FILE, "URL=\nGROUP=\n"), ca]] {
        assert_eq!(configured(none), Ok(None));
    }
    for (files, says) in [
        (&[(FILE, whole.as_str())][..], "has no authority"),
        (&[(FILE, &whole), ("lock-service-ca.pem", "")], "authority cannot be used"),
        (&[(FILE, &whole.replace("GROUP", "NAME")), ca], "without a group"),
        (&[(FILE, &whole.replace("URL", "NAME")), ca], "without a URL"),
        (&[(FILE, &whole.replace("https:", "smtp:")), ca], "does not begin with https://"),
    ] {
        let why = configured(files).unwrap_err();
        assert_eq!(why.code, Code::LockService);
        assert!(why.message.contains(says), "{says}: {why}");
    }
}

#[test]
fn a_profile_with_a_lock_service_that_no_backup_would_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["profile.d", "domains.d"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
        for file in std::fs::read_dir(reference_profile().join(part)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join(part).join(file.file_name())).unwrap();
        }
    }
    for (line, says) in [
        ("url = { file = '/srv/lock.conf', key = 'URL' }", "ha.lock-service.url is '/srv/lock.conf', which"),
        ("group = { file = '/srv/lock.conf' }", "ha.lock-service.group is '/srv/lock.conf', which"),
        ("ca = '/srv/ca.pem'", "ha.lock-service.ca is '/srv/ca.pem', which"),
        ("colour = 1", "colour"),
    ] {
        let fragment = folder.path().join("profile.d/20-lock-service.toml");
        std::fs::write(fragment, format!("[ha.lock-service]\n{line}\n")).unwrap();
        let opened = Folder::open(folder.path(), Arc::new(Direct)).unwrap();
        let why = profile::load_from(&opened).unwrap_err();
        assert_eq!(why[0].code, Code::ProfileInvalid);
        assert!(why[0].message.contains(says), "{line}: {why:?}");
    }
}
