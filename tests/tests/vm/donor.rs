//! An appliance in service that makes a backup and then fails: a machine of its own, so that nothing is compared with
//! what somebody wrote down.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use reinstate_tests::appliance::{Appliance, Enrolment};
use reinstate_tests::forge::Forge;
use reinstate_tests::manager::{Manager, Mood};
use reinstate_tests::vm::{BOOT, FACTORY_ADDRESS, Hardware, SERVER, Ssh, Vm, kept, until};

use crate::picture::Picture;

/// Where the donor's management interface is.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 45, 60);

/// Accounts whose login is tried on both: the donor's, and the replacement's own.
pub const ACCOUNTS: [(&str, &str); 3] =
    [("admin", "Correct-Horse-60"), ("alice", "Battery-Staple-61"), ("admin", "Fresh-Start-45")];

/// Its own, not one of the sandbox's: SSH has to be let in from the management link.
const RULES: &str = r#"#!/usr/sbin/nft -f
flush ruleset
table inet appliance {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iif "lo" accept
		ip saddr 192.168.45.0/24 tcp dport 22 counter accept comment "administration of fw-a"
		ip6 saddr fd00:45::/64 tcp dport 22 counter accept
		ip protocol icmp accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, echo-request } accept
		iifname "failover0" meta l4proto vrrp accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname "data0" oifname "data1" tcp dport { 80, 443 } accept comment "guests to servers"
	}
}
"#;

/// Of the sandbox's donor: what is the same in a machine.
const TAKEN: [&str; 5] =
    ["etc/swanctl/conf.d", "etc/swanctl/x509", "etc/swanctl/private", "etc/appliance", "var/lib/appliance"];

/// A failed appliance, and what was known of it.
pub struct Donor {
    pub picture: Picture,
    /// The addresses that it said were its own.
    pub announced: BTreeSet<IpAddr>,
    pub file: String,
    /// Below a folder that any account may read.
    pub archive: PathBuf,
    pub serial: String,
    /// Which the donor was registered with.
    pub manager: Manager,
    /// What the donor showed its manager, DER.
    pub certificate: Vec<u8>,
}

/// The donor of all tests that run in one go.
pub fn donor() -> &'static Donor {
    static DONOR: LazyLock<Donor> = LazyLock::new(Donor::fail);
    &DONOR
}

impl Donor {
    /// Its archive with something else in it, all digests right.
    pub fn archive_with(&self, change: impl FnOnce(&mut Forge)) -> Vec<u8> {
        let mut archive = Forge::open(&fs::read(&self.archive).unwrap()).unwrap();
        change(&mut archive);
        archive.write().unwrap()
    }

    fn fail() -> Self {
        let folder = kept("donor");
        let hardware = Hardware::new("fw-a", 0x0a).also(ADDRESS);
        let serial = hardware.serial.clone();
        let mut vm = Vm::new(&folder, hardware);
        vm.start();
        vm.wait_for_ssh(FACTORY_ADDRESS);
        let manager = manager();
        let certificate = configure(&vm, &manager);
        // What is recorded is what it is after a boot with this configuration. The answer may not arrive any more.
        let _ = vm.ssh(FACTORY_ADDRESS).said("systemctl reboot", "");
        vm.qmp().expect("RESET", BOOT);
        let before = vm.announced().len();
        vm.wait_for_ssh(ADDRESS);
        let admin = Ssh::with_password("admin", vm.door(ADDRESS), ACCOUNTS[0].1);
        let made = admin.patient("backup create", "");
        assert!(made.ok, "{made:?}");
        let file = vm.look(ADDRESS, "cd /var/sf/backup && ls *.tar").trim().to_owned();
        assert!(file.starts_with("fw-a_"), "the backup's name is {file}");
        let archive = folder.join(&file);
        vm.ssh(ADDRESS).fetch(&format!("/var/sf/backup/{file}"), &archive);
        let picture = Picture::of(&vm, ADDRESS, &ACCOUNTS);
        assert_eq!(picture.hostname(), "fw-a\n".repeat(3), "the donor's name is configured");
        assert!(picture.may_log_in("alice", ACCOUNTS[1].1), "the donor's accounts are: {picture:?}");
        let announced = vm.own_addresses(before);
        vm.power_off(ADDRESS);
        Self { picture, announced, file, archive, serial, manager, certificate }
    }
}

/// Guests find it at [`SERVER`], where no name is needed.
fn manager() -> Manager {
    let mut manager = Manager::at((Ipv4Addr::LOCALHOST, 0).into(), &SERVER.to_string()).unwrap();
    manager.open(Mood::Answer(204)).unwrap();
    manager
}

/// Puts the donor's configuration on a machine as it leaves the factory; gives its certificate for the manager.
fn configure(vm: &Vm, manager: &Manager) -> Vec<u8> {
    let root = vm.ssh(FACTORY_ADDRESS);
    let say = |command: &str, input: &[u8]| {
        let said = root.patient(command, input);
        assert!(said.ok, "`{command}`: {said:?}");
        said.out
    };
    let uuid = say("until . /etc/appliance/device.conf; do sleep 1; done; echo $UUID", b"");
    let uuid = uuid.trim();
    let place = tempfile::tempdir().unwrap();
    let enrolment = Enrolment::with(manager, "fw-a").unwrap();
    let appliance = Appliance::donor("fw-a").device_uuid(uuid).managed(&enrolment);
    appliance.build(place.path()).unwrap();
    // The machine's own stay: what it is, and how it is licensed.
    for own in ["etc/appliance/release", "etc/appliance/licence", "var/lib/appliance/hotfixes"] {
        let path = place.path().join(own);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    say("tar -x -C / --no-overwrite-dir", &tar(place.path()));
    say("cat > /etc/nftables.conf", RULES.as_bytes());
    say("rm -f /etc/nftables.d/*", b"");
    let network = "/etc/systemd/network/10-management0.network";
    say(
        &format!("sed -i 's/^Address=.*/Address={ADDRESS}\\/24/' {network} && grep -q {ADDRESS} {network}"),
        b"",
    );
    say("echo fw-a > /etc/hostname && sed -i 's/^127\\.0\\.1\\.1.*/127.0.1.1 fw-a/' /etc/hosts", b"");
    say("useradd -m -u 1001 -s /usr/bin/reinstate-shell -G reinstate-admin alice", b"");
    let passwords: String = ACCOUNTS[..2].iter().map(|(name, word)| format!("{name}:{word}\n")).collect();
    say("chpasswd", passwords.as_bytes());
    say("sync", b"");
    enrolment.der().unwrap()
}

fn tar(root: &Path) -> Vec<u8> {
    let there = TAKEN.into_iter().filter(|path| root.join(path).exists());
    let packed = Command::new("tar")
        .args(["-c", "--owner=root:0", "--group=root:0", "-C"])
        .arg(root)
        .args(there)
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    packed.stdout
}

/// Waits for the end of the job that runs, and gives what `show restore` says then.
pub fn end_of_job(vm: &Vm, address: impl Into<IpAddr>) -> String {
    let address = address.into();
    until("the end of the restore", BOOT, || {
        let said = vm.ssh(address).said("reinstate-shell -c 'show restore' </dev/null", "");
        (said.ok && said.out.lines().any(|line| line.starts_with("Result "))).then_some(said.out)
    })
}
