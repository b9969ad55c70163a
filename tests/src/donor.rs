//! What an appliance of the image has in service, before it makes a backup and fails: policy, accounts, VPN, a manager.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use crate::appliance::{Appliance, Enrolment};

/// Where its management interface is.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 45, 60);

/// Accounts whose login is tried: the donor's, and what the replacement's own is before.
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

/// Puts it on an appliance as it leaves the factory. `say` runs a command there as root, with this input.
pub fn configure(say: impl Fn(&str, &[u8]) -> String, enrolment: &Enrolment) {
    let uuid = say("until . /etc/appliance/device.conf; do sleep 1; done; echo $UUID", b"");
    let place = tempfile::tempdir().unwrap();
    let appliance = Appliance::donor("fw-a").device_uuid(uuid.trim()).managed(enrolment);
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
