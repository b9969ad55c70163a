//! A configuration that cannot be made whole.

use std::fs;
use std::path::PathBuf;

use reinstate_tests::container::apart;
use reinstate_tests::vm::FACTORY_ADDRESS;

use crate::donor::donor;
use crate::replacement::Replacement;

const DROP_INS: &str = include_str!("../../../systemd/drop-ins");

/// Both generations of a restore: what was live, and what is wanted.
const BOTH: [u8; 2] = [1, 2];

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn without_a_whole_configuration_network_ssh_and_vpn_stay_down_until_one_is_whole_again() {
    apart("broken", |site| {
        let mut new = Replacement::boot(site);
        let old = new.container.look("reinstated scan");
        new.restore(&donor().archive);
        new.container.wait_until_down();
        let root = new.container.root();
        let index = |number: u8| -> PathBuf {
            root.join(format!("var/lib/reinstate/generations/{number}/index.jsonl"))
        };
        let whole = fs::read(index(1)).unwrap();
        for number in BOTH {
            let mut bytes = fs::read(index(number)).unwrap();
            bytes[40] ^= 1;
            fs::write(index(number), bytes).unwrap();
        }
        new.container.start();
        new.container.wait_for_boot();
        new.container.look("test -s /run/reinstate/broken");
        for unit in units() {
            let state =
                new.container.look(&format!("systemctl show -p ActiveState -p ConditionResult {unit}"));
            assert!(state.contains("ActiveState=inactive\n"), "{unit}: {state}");
        }
        for unit in ["systemd-networkd.service", "ssh.service", "strongswan.service"] {
            let why = new.container.look(&format!("journalctl -b -o cat --no-pager _PID=1 UNIT={unit}"));
            assert!(why.contains("ConditionPathExists=!/run/reinstate/broken"), "{unit}: {why}");
        }
        let addresses = new.container.look("ip -br address show scope global");
        assert_eq!(addresses.split_whitespace().filter(|word| word.contains('/')).count(), 0, "{addresses}");
        let explained =
            new.container.look("journalctl -b -x --no-pager MESSAGE_ID=2d1c6f0e6d2b4b6f9a55a7f1d1b1c001");
        for word in ["Subject: Neither configuration could be made whole", "stay down", "machine's console"] {
            assert!(explained.contains(word), "'{word}' is not in {explained}");
        }
        // The console is the last way in.
        let shown = new.shell("show restore", "");
        assert!(shown.out.contains("neither configuration"), "{shown:?}");
        new.container.look("systemctl is-active console-getty.service");

        fs::write(index(1), whole).unwrap();
        new.container.reboot();
        new.container.wait_for_ssh(FACTORY_ADDRESS);
        new.wait_for_agent();
        let shown = new.end_of_job();
        assert!(shown.contains(": rolled back"), "{shown}");
        assert_eq!(new.container.look("reinstated scan"), old);
        new.container.look("systemctl is-active systemd-networkd.service ssh.service strongswan.service");
    });
}

/// What waits for a whole configuration; a template has no state of its own.
fn units() -> impl Iterator<Item = &'static str> {
    DROP_INS.lines().filter(|line| !line.starts_with('#') && !line.contains('@'))
}
