//! The restore that is recorded, and what was when in the recording.

use std::ops::Range;
use std::path::Path;

use reinstate_agent::state::State;
use reinstate_api::Phase;
use reinstate_tests::Result;
use reinstate_tests::vm::{BOOT, Entry, FACTORY_ADDRESS, Hardware, Recording, Vm};

use crate::donor::{ADDRESS, donor, end_of_job};

/// The recording, in the test's folder.
pub const WRITES: &str = "writes";

/// Files that make activation longer.
const FILES: usize = 60;

/// Restores the donor's backup on a machine whose writes are recorded.
pub fn restore(folder: &Path) {
    let donor = donor();
    let mut hardware = Hardware::new("recorded", 0x61).also(ADDRESS);
    hardware.recording = Some(folder.join(WRITES));
    let mut vm = Vm::new(folder, hardware);
    vm.start();
    vm.wait_for_ssh(FACTORY_ADDRESS);
    vm.look(
        FACTORY_ADDRESS,
        "sed -i '/ ext4 /s/defaults/defaults,noauto_da_alloc/' /etc/fstab && mount -o remount /",
    );
    // After a rename, ext4 would write what the new file holds, synced or not.
    let forgives_nothing = |vm: &Vm, address| {
        let mounted = vm.look(address, "grep ' / ext4 ' /proc/mounts");
        assert!(mounted.contains("noauto_da_alloc"), "{mounted}");
    };
    forgives_nothing(&vm, FACTORY_ADDRESS);
    let archive = donor.archive_with(|archive| {
        for number in 0..FILES {
            let path = format!("var/lib/appliance/file-lists/lost-{number:03}.list");
            archive.put("files", &path, &format!("{number}\n").repeat(2000)).unwrap();
        }
    });
    let put = format!("cat > /var/sf/backup/{} && sync", donor.file);
    let put = vm.ssh(FACTORY_ADDRESS).patient(&put, archive);
    assert!(put.ok, "{put:?}");
    let line = format!("reinstate-shell -c 'restore remote-manager-backup {}'", donor.file);
    let said = vm.ssh(FACTORY_ADDRESS).said(&line, "Y\n");
    assert!(said.ok, "{said:?}");
    vm.qmp().expect("RESET", BOOT);
    vm.wait_for_ssh(ADDRESS);
    let shown = end_of_job(&vm, ADDRESS);
    assert!(shown.contains(": succeeded"), "{shown}");
    forgives_nothing(&vm, ADDRESS);
    vm.power_off(ADDRESS);
}

/// When something was first written that the record became; positions in the recording.
#[derive(Debug)]
pub struct Marks {
    /// The last flush before the restore began.
    pub asked: usize,
    pub committed: usize,
    /// From here on the commit is durable: each writing of the record follows the flushes of the one before it.
    pub rebooting: usize,
    pub activating: usize,
    pub activated: usize,
    /// Some time after its end.
    pub end: usize,
}

impl Marks {
    /// Where the agent's record was written, by what it says.
    pub fn find(recording: &Recording) -> Result<Self> {
        let mut records = Vec::new();
        for (at, entry) in recording.entries().iter().enumerate() {
            let Entry::Write(write) = entry else { continue };
            for block in recording.content(write)?.chunks(4096) {
                let text = block.split(|byte| *byte == 0).next().unwrap_or_default();
                if text.starts_with(b"format = 1\nrevision = ")
                    && let Ok(state) = toml::from_str::<State>(&String::from_utf8_lossy(text))
                {
                    records.push((at, state));
                }
            }
        }
        let first = |what: &str, is: &dyn Fn(&State) -> bool| {
            let found = records.iter().find(|(_, state)| is(state));
            found.map(|(at, _)| *at).ok_or_else(|| format!("the record was never written {what}"))
        };
        let phase = |wanted| move |state: &State| state.job.as_ref().is_some_and(|job| job.phase() == wanted);
        let asked = first("with a job", &|state| state.job.is_some())?;
        let ended = first("with an end", &|state| !state.history.is_empty())?;
        Ok(Self {
            asked: recording.flushed(asked),
            committed: first("as committed", &phase(Phase::Committed))?,
            rebooting: first("as rebooting", &phase(Phase::Rebooting))?,
            activating: first("as activating", &phase(Phase::Activating))?,
            activated: first("as activated", &phase(Phase::Finishing))?,
            end: recording.flushed((ended + 300).min(recording.entries().len())),
        })
    }

    /// Before the commit, until the activation, inside it, and after it.
    pub fn parts(&self) -> [Range<usize>; 4] {
        let Self { asked, committed, activating, activated, end, .. } = *self;
        [asked..committed, committed..activating, activating..activated, activated..end]
    }
}
