//! Both members of a pair of whole appliances fail and are replaced, one after the other, while the other one serves.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::Roster;
use super::pair::VIRTUAL;
use crate::vm::{Said, until};

/// Longer than a boot and the longest pause between two looks of the agent at its group.
const PATIENCE: Duration = Duration::from_secs(300);

/// Between two looks of a test at what changes by itself.
const PAUSE: Duration = Duration::from_secs(1);

/// A whole appliance that runs, in a container or a machine.
pub trait Whole {
    /// A root shell's command, with all of its standard input.
    fn run(&self, command: &str, input: &[u8]) -> Said;

    /// Waits for the restart that was asked for, has something done before it goes on, and waits until it answers at
    /// this address.
    fn restarts(&mut self, address: IpAddr, meanwhile: &mut dyn FnMut());

    fn look(&self, command: &str) -> String {
        let said = self.run(command, b"");
        assert!(said.ok, "`{command}`: {said:?}");
        said.out
    }

    /// The admin's shell; errors come with the output.
    fn say(&self, command: &str, answers: &str) -> Said {
        self.run(&format!("reinstate-shell -c '{command}' 2>&1"), answers.as_bytes())
    }

    fn wait_for_agent(&self) {
        until("the agent's answer", PATIENCE, || self.say("show version", "").ok.then_some(()));
    }

    /// As the HA engine says it to the agent.
    fn becomes(&self, state: &str) {
        until(&format!("the state {state}"), PATIENCE, || {
            let is = self.run("reinstated ha-state", b"").out.trim() == format!("\"{state}\"");
            is.then_some(()).or_else(|| {
                sleep(PAUSE);
                None
            })
        });
    }
}

/// A member in service.
pub struct Member<W> {
    pub on: W,
    number: usize,
    backup: Backup,
}

/// What a member has backed up of itself, in base64.
#[derive(Clone)]
struct Backup {
    file: String,
    text: String,
}

impl<W: Whole> Member<W> {
    /// An appliance from the factory becomes a member, as if it always was, and makes a backup.
    pub fn first(mut on: W, roster: &Roster, number: usize) -> Self {
        let listed = &roster.members[number];
        roster.configure(number, |command, input| {
            let said = on.run(command, input);
            assert!(said.ok, "`{command}`: {said:?}");
            said.out
        });
        // The answer may not arrive any more.
        on.run("systemctl reboot --no-block", b"");
        on.restarts(listed.address(), &mut || {});
        on.wait_for_agent();
        let made = on.say("backup create", "");
        assert!(made.ok, "{made:?}");
        let file = on.look("cd /var/sf/backup && ls *.tar").trim().to_owned();
        assert!(file.starts_with(&format!("{}_{}_", listed.hostname, listed.role)), "the name is {file}");
        let text = on.look(&format!("base64 /var/sf/backup/{file}"));
        Self { on, number, backup: Backup { file, text } }
    }

    /// An appliance from the factory takes the place of the member that has failed, while this one serves. In the
    /// middle of its restart a restore is tried here.
    fn sees_replaced(&self, mut on: W, roster: &Roster, number: usize, backup: Backup) -> Self {
        let listed = &roster.members[number];
        let (watch, turns) = (Watch::begin(), self.turns());
        let Backup { file, text } = &backup;
        let put = on.run(&format!("base64 -d > /var/sf/backup/{file}"), text.as_bytes());
        assert!(put.ok, "{put:?}");
        let said = on.say(&format!("restore remote-manager-backup {file}"), "Y\n");
        assert!(said.out.contains("System will now reboot."), "{said:?}");
        on.restarts(listed.address(), &mut || self.is_refused(&listed.hostname));
        on.wait_for_agent();
        let shown = until("the return into the group", PATIENCE, || {
            let shown = on.say("show restore", "").out;
            shown.contains("this member has rejoined its group: standby").then_some(shown)
        });
        let result = shown.lines().find(|line| line.starts_with("Result "));
        assert!(result.is_some_and(|line| line.ends_with(": succeeded")), "{shown}");
        watch.end();
        assert_eq!(self.turns(), turns, "changes of the state of the member that serves");
        Self { on, number, backup }
    }

    /// Its own restore, which would be right at any other time.
    fn is_refused(&self, holder: &str) {
        let said = self.on.say(&format!("restore remote-manager-backup {}", self.backup.file), "Y\n");
        assert_eq!(said.status, Some(1), "{said:?}");
        for word in ["[lock-held]", holder, "Nothing was changed."] {
            assert!(said.out.contains(word), "'{word}' is not in {said:?}");
        }
    }

    /// How often keepalived has changed its state since the boot.
    fn turns(&self) -> usize {
        let said = self.on.look("journalctl -b -o cat --no-pager -u keepalived.service");
        said.lines().filter(|line| line.contains("Entering ")).count()
    }

    /// One line of sight: no lock, no release that is owed, the right states.
    fn sees(&self, roster: &Roster, state: &str, other: &Self, others: &str) {
        let [own, other] = [self, other].map(|member| &roster.members[member.number]);
        let expected = [
            format!("{}, this appliance is its {}, {state}", roster.name, own.role),
            format!("{} ({})", other.hostname, other.role),
            format!("HA state {others}"),
        ];
        let end = Instant::now() + PATIENCE;
        loop {
            let shown = self.on.say("show restore lock", "").out;
            let free = shown.matches(": not locked").count() == 2 && !shown.contains("Release");
            if free && expected.iter().all(|words| shown.contains(words)) {
                break;
            }
            assert!(Instant::now() < end, "{expected:?} and nothing locked are expected, it is {shown}");
            sleep(PAUSE);
        }
        self.on.look("test ! -e /var/lib/reinstate/restore.lock");
        assert_eq!(self.on.look("cat /etc/appliance/ha/group.toml"), roster.text());
    }
}

/// `factory` makes an appliance as it leaves the factory, by name and a number that nothing else has.
///
/// # Panics
/// Where the other member did not serve all the time, was restored in the same time, or both are not in sync.
pub fn both_are_replaced<W: Whole>(factory: impl Fn(&str, u8) -> W) {
    let roster = Roster::pair();
    let first = Member::first(factory("fw-a", 0x1a), &roster, 0);
    first.on.becomes("active");
    let second = Member::first(factory("fw-b", 0x1b), &roster, 1);
    in_sync(&roster, &first, &second);

    let backup = second.backup.clone();
    drop(second);
    let second = first.sees_replaced(factory("new-b", 0x2b), &roster, 1, backup);
    in_sync(&roster, &first, &second);

    let backup = first.backup.clone();
    drop(first);
    second.on.becomes("active");
    let first = second.sees_replaced(factory("new-a", 0x2a), &roster, 0, backup);
    in_sync(&roster, &second, &first);
}

fn in_sync<W: Whole>(roster: &Roster, active: &Member<W>, standby: &Member<W>) {
    active.on.becomes("active");
    standby.on.becomes("standby");
    active.sees(roster, "active", standby, "standby");
    standby.sees(roster, "standby", active, "active");
}

/// Looks all the time whether somebody answers at the virtual address.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(usize, usize)>>,
}

impl Watch {
    const PAUSE: Duration = Duration::from_millis(250);

    fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut all, mut in_vain) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                all += 1;
                in_vain += usize::from(!Self::answers());
                sleep(Self::PAUSE);
            }
            (all, in_vain)
        });
        Self { stop, thread: Some(thread) }
    }

    /// Within three seconds. No connection: a slow sshd turns others away while it has many that say nothing.
    fn answers() -> bool {
        let ping = Command::new("ping")
            .args(["-n", "-q", "-c", "1", "-W", "3", &VIRTUAL.to_string()])
            .stdout(Stdio::null())
            .status();
        ping.expect("ping is installed by whoever runs these tests").success()
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let (all, in_vain) = self.thread.take().unwrap().join().unwrap();
        assert!(all > 8 && in_vain == 0, "{in_vain} of {all} attempts to reach {VIRTUAL} were in vain");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
