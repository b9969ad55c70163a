//! The power goes at any moment of a restore: what is there afterwards is wholly the old configuration or wholly the new one, and says
//! which.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reinstate_tests::vm::{BOOT, FACTORY_ADDRESS, Hardware, Vm, kept, until};

use crate::donor::{ADDRESS, donor, end_of_job};
use crate::replacement::{ANSWER, first_login};

/// The disk's writes a second, so that there is time to hit something.
const WRITES: u64 = 60;

/// Files that make activation longer.
const FILES: usize = 60;

/// What the activation says in the journal at the boot after it was cut short.
const CUT_SHORT: &str = "was cut short: it is done again";

/// Moments before the commit, between it and the restart, while the activation goes on, and after it.
const BEFORE: [f64; 2] = [0.2, 0.7];
const BETWEEN: [f64; 1] = [0.5];
const INSIDE: [f64; 6] = [0.1, 0.25, 0.4, 0.55, 0.7, 0.85];
const AFTER: [f64; 1] = [0.5];

/// A replacement that was stopped at the question.
struct Asked {
    vm: Vm,
    state: PathBuf,
    folder: PathBuf,
    old: String,
}

/// How often something was made durable, from the answer on.
#[derive(Debug)]
struct Flushes {
    commit: u64,
    restart: u64,
    activating: u64,
    live: u64,
    end: u64,
}

#[test]
#[ignore = "needs the image: tests/vm"]
fn wherever_the_power_goes_the_configuration_is_wholly_the_old_or_the_new_one() {
    let asked = Asked::stop();
    let (flushes, new) = asked.uncut();
    println!("flushes of a restore that nobody cuts: {flushes:?}");
    assert_ne!(asked.old, new);
    let parts = [
        (&BEFORE[..], 0, flushes.commit),
        (&BETWEEN[..], flushes.commit, flushes.restart),
        (&INSIDE[..], flushes.activating, flushes.live),
        (&AFTER[..], flushes.live, flushes.end),
    ];
    let mut ends = Vec::new();
    for (number, (shares, from, to)) in parts.into_iter().enumerate() {
        for share in shares {
            let after = from + ((to - from) as f64 * share) as u64;
            ends.push(asked.cut(after, number >= 2, &new));
        }
    }
    for end in &ends {
        println!("{end:?}");
    }
    let count = |is: &dyn Fn(&End) -> bool| ends.iter().filter(|end| is(end)).count();
    assert!(count(&|end| end.journal.contains(CUT_SHORT)) >= 4, "cuts inside the activation");
    assert!(count(&|end| end.is_new) >= 2, "ended new");
    assert!(count(&|end| !end.is_new) >= 2, "ended old");
}

/// How one cut ended.
#[derive(Debug)]
#[allow(dead_code, reason = "it is printed")]
struct End {
    flushes: u64,
    seconds: f64,
    is_new: bool,
    /// What the activation said at the boot after it.
    journal: String,
}

impl Asked {
    fn stop() -> Self {
        let folder = kept("cuts");
        let donor = donor();
        let mut vm = Vm::new(&folder, Hardware::new("asked", 0x31).also(ADDRESS));
        vm.start();
        vm.wait_for_ssh(FACTORY_ADDRESS);
        let archive = donor.archive_with(|archive| {
            for number in 0..FILES {
                let path = format!("var/lib/appliance/file-lists/cut-{number:03}.list");
                archive.put("files", &path, &format!("{number}\n").repeat(2000)).unwrap();
            }
        });
        let put = vm.ssh(FACTORY_ADDRESS).patient(&format!("cat > /var/sf/backup/{}", donor.file), archive);
        assert!(put.ok, "{put:?}");
        let console = vm.console();
        first_login(console);
        console.type_line(&format!("restore remote-manager-backup {}", donor.file));
        console.expect("Are you sure you want to continue (Y/N): ", ANSWER);
        let old = vm.look(FACTORY_ADDRESS, "reinstated scan; sync");
        let state = folder.join("state");
        vm.save(&state);
        Self { vm, state, folder, old }
    }

    /// The same machine at the same moment, with Y typed.
    fn answer(&self, name: &str) -> Vm {
        let mut hardware = self.vm.hardware().clone();
        hardware.image = self.vm.disk().to_owned();
        hardware.name = name.to_owned();
        let mut vm = Vm::new(&self.folder, hardware);
        vm.resume(&self.state);
        vm.throttle(WRITES);
        vm.console().type_line("Y");
        vm
    }

    /// Lets it go through; what the new configuration is.
    fn uncut(&self) -> (Flushes, String) {
        let mut vm = self.answer("uncut");
        vm.console().expect("System will now reboot.", BOOT);
        let commit = vm.flushes();
        vm.qmp().expect("RESET", BOOT);
        let restart = vm.flushes();
        vm.console().expect("reinstate: activating generation", BOOT);
        let activating = vm.flushes();
        vm.console().expect("is the live configuration", BOOT);
        let live = vm.flushes();
        vm.wait_for_ssh(ADDRESS);
        let end = vm.flushes();
        let shown = end_of_job(&vm, ADDRESS);
        assert!(shown.contains(": succeeded"), "{shown}");
        let new = vm.look(ADDRESS, "reinstated scan");
        (Flushes { commit, restart, activating, live, end }, new)
    }

    /// Cuts the power after so many flushes, boots, and looks.
    fn cut(&self, after: u64, restarted: bool, new: &str) -> End {
        let mut vm = self.answer(&format!("cut-{after:04}"));
        let started = Instant::now();
        if restarted {
            vm.qmp().expect("RESET", BOOT);
        }
        while vm.flushes() < after {
            assert!(started.elapsed() < BOOT, "there were no {after} flushes");
            std::thread::sleep(Duration::from_millis(5));
        }
        vm.cut();
        let seconds = started.elapsed().as_secs_f64();
        vm.start();
        let address = answering(&vm);
        let shown = until("the agent's answer", BOOT, || {
            let said = vm.ssh(address).said("reinstate-shell -c 'show restore' </dev/null", "");
            let ended = said.out.lines().any(|line| line.starts_with("Result "))
                || said.out.contains("There was no restore");
            (said.ok && ended).then_some(said.out)
        });
        // It may have ended with another restart.
        let address = answering(&vm);
        let scan = vm.look(address, "reinstated scan");
        let is_new = scan == new;
        assert!(is_new || scan == self.old, "cut after {after} flushes: neither old nor new\n{shown}");
        assert_eq!(is_new, shown.contains(": succeeded"), "cut after {after} flushes\n{shown}");
        assert_eq!(address == ADDRESS, is_new);
        assert!(shown.contains(": not taken"), "{shown}");
        let journal = vm.look(address, "journalctl -b -o cat -u reinstate-activate.service | tail -5");
        End { flushes: after, seconds, is_new, journal }
    }
}

fn answering(vm: &Vm) -> Ipv4Addr {
    until("SSH on one of the addresses", BOOT, || {
        [ADDRESS, FACTORY_ADDRESS].into_iter().find(|address| vm.answers(*address))
    })
}
