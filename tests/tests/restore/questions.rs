//! What a job asks, who may answer, and how it ends where the answer is no, nobody's or wrong.

use std::fs;
use std::io::Read;

use reinstate_api::{Code, Phase};
use reinstate_tests::appliance::Appliance;
use reinstate_tests::relay::Relay;
use reinstate_tests::rogue::{Rogue, Script, Step};
use reinstate_tests::sshd::{Sshd, SshdOptions, known_hosts_line};
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use tokio::runtime::Runtime;

use crate::scene::{FILE, Refused, Scene, names};

/// A server that does as the script says, while the runtime lives.
fn rogue(script: Script) -> (Runtime, Rogue) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let rogue = runtime.block_on(Rogue::start(script));
    (runtime, rogue)
}

fn restore_here() -> String {
    format!("restore remote-manager-backup {FILE}")
}

/// A server with the backup, its file behind a relay.
fn behind_relay(scene: &Scene) -> (Sshd, Relay, String) {
    let authorized_keys = vec![scene.public_key()];
    let server = Sshd::start(&SshdOptions { authorized_keys, ..SshdOptions::default() });
    let relay = Relay::to(server.address());
    let given = format!("fingerprint {}", server.fingerprint());
    let command = scene.from(relay.address(), server.user(), FILE, &given);
    (server, relay, command)
}

#[test]
fn an_unknown_host_key_that_is_refused_ends_it_before_anything_is_sent() {
    let scene = Scene::new(Appliance::replacement());
    let (_runtime, rogue) = rogue(Script { password: Some("x".into()), ..Script::default() });
    let refused = scene.refused(&scene.from(rogue.address(), "admin", FILE, ""), "no\n");
    refused.alone(Code::HostKeyUnknown, &[&rogue.fingerprint()]);
    assert!(refused.said.text.contains(&rogue.fingerprint()), "{:?}", refused.said);
    assert_eq!(rogue.seen(), Vec::<String>::new());
    assert!(!scene.root().join("var/lib/reinstate/known_hosts").exists(), "the key was kept");
}

#[test]
fn a_changed_host_key_ends_it_without_a_question_and_before_anything_is_sent() {
    let (_runtime, rogue) = rogue(Script { password: Some("x".into()), ..Script::default() });
    let other = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let known = known_hosts_line(rogue.address(), other.public_key());
    let scene = Scene::new(Appliance::replacement().file("etc/ssh/ssh_known_hosts", known + "\n", 0o644));
    let refused = scene.refused(&scene.from(rogue.address(), "admin", FILE, ""), "yes\nx\nY\n");
    let known = other.public_key().fingerprint(HashAlg::Sha256).to_string();
    refused.alone(Code::HostKeyChanged, &[&rogue.fingerprint(), &known]);
    assert!(!refused.said.text.contains("(yes/no"), "{:?}", refused.said);
    assert_eq!(rogue.seen(), Vec::<String>::new());
}

#[test]
fn a_host_key_other_than_the_given_one_ends_it_before_anything_is_sent() {
    let scene = Scene::new(Appliance::replacement());
    let (_runtime, rogue) = rogue(Script { password: Some("x".into()), ..Script::default() });
    let other = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let given = other.public_key().fingerprint(HashAlg::Sha256).to_string();
    let command = scene.from(rogue.address(), "admin", FILE, &format!("fingerprint {given}"));
    scene.refused(&command, "yes\nx\nY\n").alone(Code::HostKeyChanged, &[&rogue.fingerprint(), &given]);
    assert_eq!(rogue.seen(), Vec::<String>::new());
}

#[test]
fn wrong_passwords_end_it_and_are_kept_nowhere() {
    let scene = Scene::new(Appliance::replacement());
    let (_runtime, rogue) = rogue(Script { password: Some("right".into()), ..Script::default() });
    let given = format!("fingerprint {}", rogue.fingerprint());
    let wrong = ["wrong-4711", "wrong-4712", "wrong-4713"];
    let refused =
        scene.refused(&scene.from(rogue.address(), "admin", FILE, &given), &(wrong.join("\n") + "\n"));
    refused.alone(Code::AuthenticationFailed, &["admin", &rogue.address().to_string()]);
    let seen: Vec<_> = rogue.seen().into_iter().filter(|what| what.starts_with("password")).collect();
    assert_eq!(seen, wrong.map(|password| format!("password {password}")));
    for place in [scene.machine.log(), &scene.root().join("var/lib/reinstate/state.toml")] {
        let text = String::from_utf8_lossy(&fs::read(place).unwrap()).into_owned();
        assert!(!text.contains("wrong-47"), "a password is in {}", place.display());
    }
    assert!(!refused.said.text.contains("wrong-47"), "{:?}", refused.said);
}

#[test]
fn a_file_that_the_server_does_not_have_is_named() {
    let scene = Scene::new(Appliance::replacement());
    let (server, _relay, _) = behind_relay(&scene);
    let given = format!("fingerprint {}", server.fingerprint());
    let command = scene.from(server.address(), server.user(), "missing.tar", &given);
    scene.refused(&command, "Y\n").alone(Code::RemoteFile, &["missing.tar"]);
    assert!(!scene.kept("missing.tar.part").exists());
}

#[test]
fn another_admin_answers_the_question_of_the_first_ones_session() {
    let scene = Scene::new(Appliance::replacement());
    std::thread::scope(|threads| {
        let first = threads.spawn(|| {
            let mut text = Vec::new();
            let mut show = |new: &[u8]| text.extend_from_slice(new);
            let status = scene.machine.converse(&restore_here(), &mut |_| None, &mut show).unwrap();
            (status.code(), String::from_utf8_lossy(&text).into_owned())
        });
        scene.wait_for_confirm();
        let second = scene.say("show restore", "Y\n");
        assert_eq!(second.status, Some(0), "{second:?}");
        assert!(second.text.contains("Backup Details"), "{second:?}");
        let (status, text) = first.join().unwrap();
        assert_eq!(status, Some(0), "{text}");
        assert!(text.contains("The question needs no answer any more."), "{text}");
        assert!(text.contains("System will now reboot."), "{text}");
    });
    scene.restored(1);
}

#[test]
fn a_session_that_drops_at_the_question_leaves_the_job_to_the_next_login() {
    let scene = Scene::new(Appliance::replacement());
    let mut shell = scene.spawn(&restore_here());
    let job = scene.wait_for_confirm();
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert_eq!(scene.job().id, job.id);
    assert_eq!(scene.job().question, job.question);
    assert_eq!(scene.say("show restore", "Y\n").status, Some(0));
    scene.restored(1);
    assert_eq!(scene.history()[0].id, job.id);
}

#[test]
fn a_session_that_drops_while_receiving_leaves_the_job_to_the_next_login() {
    let scene = Scene::new(Appliance::replacement());
    let (_server, relay, command) = behind_relay(&scene);
    relay.limit(5_000);
    let mut shell = scene.spawn(&command);
    let job = scene.wait("receiving", |job| job.progress.is_some());
    assert_eq!(job.phase, Phase::Receiving);
    shell.kill().unwrap();
    shell.wait().unwrap();
    relay.limit(0);
    scene.wait_for_confirm();
    assert_eq!(scene.job().id, job.id);
    assert_eq!(scene.say("show restore", "Y\n").status, Some(0));
    scene.restored(1);
}

#[test]
fn an_abort_while_receiving_changes_nothing() {
    let scene = Scene::new(Appliance::replacement());
    let (_server, relay, command) = behind_relay(&scene);
    let before = scene.untouched();
    relay.limit(5_000);
    let mut shell = scene.spawn(&command);
    let job = scene.wait("receiving", |job| job.progress.is_some());
    assert_eq!(job.phase, Phase::Receiving);
    assert_eq!(scene.say("restore abort", "").status, Some(0));
    scene.wait_for_end();
    scene.failed(&before).alone(Code::Aborted, &[]);
    let mut text = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(shell.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains("[aborted]"), "{text}");
}

#[test]
fn an_abort_at_the_question_changes_nothing() {
    let scene = Scene::new(Appliance::replacement());
    let before = scene.untouched();
    assert_eq!(scene.say(&restore_here(), "").status, Some(1));
    scene.wait_for_confirm();
    assert_eq!(scene.say("restore abort", "").status, Some(0));
    scene.wait_for_end();
    scene.failed(&before).alone(Code::Aborted, &[]);
    assert_eq!(scene.say("restore abort", "").status, Some(1), "there is nothing to abort any more");
    // The way is free for the next one.
    scene.restore_here();
}

#[test]
fn an_answer_of_no_changes_nothing() {
    let scene = Scene::new(Appliance::replacement());
    scene.refused(&restore_here(), "N\n").alone(Code::Declined, &[]);
}

#[test]
fn a_question_that_nobody_answers_in_time_ends_the_job_and_changes_nothing() {
    let scene = Scene::new(Appliance::replacement().profile_override("[questions]\nanswer-within = 1\n"));
    let before = scene.untouched();
    assert_eq!(scene.say(&restore_here(), "").status, Some(1));
    scene.wait_for_end();
    scene.failed(&before).alone(Code::Unanswered, &["within 1 s"]);
}

/// Legacy SCP from a server that lets every key in and then does this.
fn tricked(steps: Vec<Step>, banner: Option<&str>) -> Refused {
    let scene = Scene::new(Appliance::replacement());
    let script =
        Script { any_key: true, exec: Some(steps), banner: banner.map(str::to_owned), ..Script::default() };
    let (_runtime, rogue) = rogue(script);
    let given = format!("fingerprint {}", rogue.fingerprint());
    let file = "fw-x_20260105080000.tar";
    let refused = scene.refused(&scene.from(rogue.address(), "admin", file, &given), "Y\nY\nY\n");
    assert_eq!(refused.failures.len(), 1, "{:#?}", refused.failures);
    let raw = |c: char| c.is_control() && !"\r\n\t\u{8}".contains(c);
    assert!(!refused.said.text.contains(raw), "raw control characters in {:?}", refused.said.text);
    let kept = names(&scene.root().join("var/sf/backup"));
    let others: Vec<_> = kept.iter().filter(|name| *name != FILE && !name.contains("fw-x_")).collect();
    assert_eq!(others, Vec::<&String>::new());
    refused
}

#[test]
fn a_server_that_sends_a_folder_in_place_of_the_file_ends_in_one_clear_error() {
    let steps = vec![Step::Wait, Step::Send(b"D0755 0 evil\n".to_vec()), Step::Hang];
    tricked(steps, None).alone(Code::RemoteFile, &["is a folder to the server"]);
}

#[test]
fn a_server_that_names_another_path_writes_nowhere_else() {
    let send = |bytes: &[u8]| Step::Send(bytes.to_vec());
    let steps = vec![
        Step::Wait,
        send(b"C4755 5 ../../../etc/passwd\n"),
        Step::Wait,
        send(b"hello\0"),
        Step::Wait,
        Step::Exit(0),
    ];
    tricked(steps, None).alone(Code::ArchiveInvalid, &[]);
}

#[test]
fn a_server_that_announces_more_than_any_backup_has_ends_in_one_clear_error() {
    let steps = vec![Step::Wait, Step::Send(b"C0644 99999999999999 fw.tar\n".to_vec()), Step::Hang];
    tricked(steps, None).alone(Code::ArchiveTooLarge, &["99999999999999"]);
}

#[test]
fn escape_codes_in_a_banner_and_in_errors_reach_no_terminal() {
    let steps = vec![Step::Errors(b"\x1b[2J\x1b]0;owned\x07no such file\n".to_vec()), Step::Exit(1)];
    let refused = tricked(steps, Some("\x1b[31mWelcome\x1b[0m\x07\u{202e}"));
    assert!(refused.said.text.contains("Welcome"), "the banner is shown: {:?}", refused.said);
}
