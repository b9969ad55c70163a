//! An HA pair of whole appliances: keepalived over the failover link, and the agents that meet on it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use reinstate_tests::container::{BOOT, Container, Hardware, Site, apart, ip};
use reinstate_tests::group::Roster;
use reinstate_tests::group::pair::{OBSERVER, VIRTUAL};
use reinstate_tests::vm::{FACTORY_ADDRESS, until};

use crate::replacement::Replacement;

/// A member in service, with the backup that it has made of itself.
struct Member<'a> {
    on: Replacement<'a>,
    number: usize,
    backup: Backup,
}

#[derive(Clone)]
struct Backup {
    file: String,
    archive: Vec<u8>,
}

/// An appliance as it leaves the factory.
fn factory<'a>(site: &'a Site, name: &str, number: u8) -> Replacement<'a> {
    let mut container = Container::new(site, Hardware::new(name, number));
    container.start();
    container.wait_for_ssh(FACTORY_ADDRESS);
    let on = Replacement { container, address: FACTORY_ADDRESS };
    on.wait_for_agent();
    on
}

impl<'a> Member<'a> {
    /// The first of its name.
    fn in_service(site: &'a Site, roster: &Roster, number: usize) -> Self {
        let listed = &roster.members[number];
        let mut on = factory(site, &listed.hostname, 0x1a + number as u8);
        roster.configure(number, |command, input| {
            let said = on.container.said(command, input);
            assert!(said.ok, "`{command}`: {said:?}");
            said.out
        });
        on.container.reboot();
        on.container.wait_for_ssh(listed.address());
        on.wait_for_agent();
        let made = on.shell("backup create", "");
        assert!(made.ok, "{made:?}");
        let file = on.container.look("cd /var/sf/backup && ls *.tar").trim().to_owned();
        assert!(file.starts_with(&format!("{}_{}_", listed.hostname, listed.role)), "the name is {file}");
        let archive = fs::read(on.container.root().join("var/sf/backup").join(&file)).unwrap();
        Self { on, number, backup: Backup { file, archive } }
    }

    /// A machine from the factory takes the place of the member that has failed, while this one serves. In the
    /// middle of its reboot a restore is tried here.
    fn replaces(&self, site: &'a Site, roster: &Roster, number: usize, backup: Backup) -> Self {
        let listed = &roster.members[number];
        let watch = Watch::begin();
        let turns = self.turns();
        let mut on = factory(site, &format!("new-{}", listed.hostname), 0x2a + number as u8);
        on.put(&backup.file, &backup.archive);
        let restored = on.shell(&format!("restore remote-manager-backup {}", backup.file), "Y\n");
        assert!(restored.ok, "{restored:?}");
        on.container.wait_until_down();
        self.is_refused(&listed.hostname);
        on.container.start();
        on.container.wait_for_ssh(listed.address());
        on.wait_for_agent();
        let shown = on.end_of_job();
        assert!(shown.contains(": succeeded"), "{shown}");
        until("the return into the group", BOOT, || {
            let shown = on.shell("show restore", "").out;
            shown.contains("this member has rejoined its group: standby").then_some(())
        });
        assert_eq!(watch.end(), 0, "in vain of all attempts to reach {VIRTUAL}");
        assert_eq!(self.turns(), turns, "changes of the state of the member that serves");
        Self { on, number, backup }
    }

    /// Its own restore, which would do otherwise.
    fn is_refused(&self, holder: &str) {
        let said = self.on.shell(&format!("restore remote-manager-backup {}", self.backup.file), "Y\n");
        assert_eq!(said.status, Some(1), "{said:?}");
        for word in ["[lock-held]", holder, "Nothing was changed."] {
            assert!(said.out.contains(word), "'{word}' is not in {said:?}");
        }
    }

    /// As keepalived says it to the agent.
    fn becomes(&self, state: &str) {
        until(&format!("{state} as {}'s state", self.number), BOOT, || {
            (self.on.container.look("reinstated ha-state").trim() == format!("\"{state}\"")).then_some(())
        });
    }

    /// How often keepalived has changed its state since the boot.
    fn turns(&self) -> usize {
        let said = self.on.container.look("journalctl -b -o cat --no-pager -u keepalived.service");
        said.lines().filter(|line| line.contains("Entering ")).count()
    }

    fn group(&self) -> String {
        self.on.container.look("cat /etc/appliance/ha/group.toml")
    }
}

/// No lock is left, each knows the other's state, and both have the same group.
fn in_sync(roster: &Roster, active: &Member, standby: &Member) {
    active.becomes("active");
    standby.becomes("standby");
    for (member, state, other, others) in
        [(active, "active", standby, "standby"), (standby, "standby", active, "active")]
    {
        let [own, other] = [member, other].map(|member| &roster.members[member.number]);
        let expected = [
            format!("{}, this appliance is its {}, {state}", roster.name, own.role),
            format!("{} ({})", other.hostname, other.role),
            format!("HA state {others}"),
        ];
        let mut last = String::new();
        until("one view of the group", BOOT, || {
            last = member.on.shell("show restore lock", "").out;
            let free = last.matches(": not locked").count() == 2 && !last.contains("Release");
            let is_right = free && expected.iter().all(|words| last.contains(words));
            if !is_right {
                sleep(Duration::from_secs(1));
            }
            is_right.then_some(())
        });
        println!("{last}");
        member.on.container.look("test ! -e /var/lib/reinstate/restore.lock");
        assert_eq!(member.group(), roster.text());
    }
}

/// Looks all the time whether somebody answers at the virtual address.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(usize, usize)>>,
}

impl Watch {
    fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut all, mut in_vain) = (0, 0);
            let door: SocketAddr = (VIRTUAL, 22).into();
            while !stopped.load(Ordering::Relaxed) {
                all += 1;
                in_vain += usize::from(TcpStream::connect_timeout(&door, Duration::from_secs(1)).is_err());
                sleep(Duration::from_millis(250));
            }
            (all, in_vain)
        });
        Self { stop, thread: Some(thread) }
    }

    /// How often nobody did.
    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (all, in_vain) = self.thread.take().unwrap().join().unwrap();
        assert!(all > 8, "only {all} attempts");
        in_vain
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn both_members_of_a_pair_are_replaced_one_after_the_other_and_one_of_them_serves_all_the_time() {
    apart("ha", |site| {
        ip(&format!("address add {OBSERVER} dev failover"));
        let roster = Roster::pair();
        let first = Member::in_service(site, &roster, 0);
        first.becomes("active");
        let second = Member::in_service(site, &roster, 1);
        in_sync(&roster, &first, &second);

        let backup = second.backup.clone();
        drop(second);
        let second = first.replaces(site, &roster, 1, backup);
        in_sync(&roster, &first, &second);

        let backup = first.backup.clone();
        drop(first);
        second.becomes("active");
        let first = second.replaces(site, &roster, 0, backup);
        in_sync(&roster, &second, &first);
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn a_suspended_ha_engine_runs_again_after_one_command() {
    apart("resume", |site| {
        let roster = Roster::pair();
        let fresh = factory(site, "fresh", 0x3a);
        let said = fresh.shell("configure high-availability resume", "");
        assert_eq!(said.status, Some(1), "{said:?}");
        assert!(said.out.contains("[not-found]"), "{said:?}");
        drop(fresh);

        let member = Member::in_service(site, &roster, 0);
        member.becomes("active");
        member.on.container.look("systemctl mask --now keepalived.service");
        member.becomes("unknown");
        let said = member.on.shell("configure high-availability resume", "");
        assert!(said.ok, "{said:?}");
        member.becomes("active");
        member.on.container.look("systemctl is-active keepalived.service");

        // What the engine does not start with.
        member.on.container.look(
            "systemctl stop keepalived.service && mv /etc/keepalived/keepalived.conf /etc/keepalived/away",
        );
        let said = member.on.shell("configure high-availability resume", "");
        assert_eq!(said.status, Some(1), "{said:?}");
        assert!(said.out.contains("[unhealthy]") && said.out.contains("(inactive)"), "{said:?}");
    });
}
