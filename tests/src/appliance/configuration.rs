//! What is configured: files that the real programs accept.

use reinstate_api::Role;
use russh::keys::Algorithm;

use super::tree::Tree;
use super::{Appliance, keys};
use crate::Result;

/// The reference profile's names of the interfaces, in bus order.
pub const NAMES: [&str; 4] = ["management0", "failover0", "data0", "data1"];

pub fn write(appliance: &Appliance, tree: &mut Tree) -> Result<()> {
    network(appliance, tree);
    system(appliance, tree);
    firewall(appliance, tree);
    ssh(appliance, tree)?;
    certificates(appliance, tree)?;
    ha(appliance, tree);
    manager(appliance, tree);
    lists(appliance, tree);
    Ok(())
}

fn network(appliance: &Appliance, tree: &mut Tree) {
    let mut put = |name: &str, text: String| {
        tree.file(&format!("etc/systemd/network/{name}.network"), text, 0o644);
    };
    let addresses: String =
        appliance.device.management.iter().map(|address| format!("Address={address}\n")).collect();
    let routes = match appliance.in_service {
        true => "Gateway=192.0.2.1\nGateway=2001:db8::1\n",
        false => "",
    };
    put(
        "10-management0",
        format!("[Match]\nName=management0\n\n[Network]\n{addresses}{routes}IPv6AcceptRA=no\n"),
    );
    if !appliance.in_service {
        let idle = "[Match]\nName=data* failover*\n\n[Network]\nLinkLocalAddressing=no\n";
        put("90-first-installation", idle.into());
        return;
    }
    for (name, address) in
        [("failover0", "2001:db8:f::1/64"), ("data0", "2001:db8:10::1/64"), ("data1", "2001:db8:20::1/64")]
    {
        let vlan = if name == "data1" { "VLAN=guests\n" } else { "" };
        put(
            &format!("20-{name}"),
            format!("[Match]\nName={name}\n\n[Network]\nAddress={address}\n{vlan}IPv6AcceptRA=no\n"),
        );
    }
    put("30-guests", "[Match]\nName=guests\n\n[Network]\nAddress=2001:db8:30::1/64\n".into());
    let vlan = "[NetDev]\nName=guests\nKind=vlan\n\n[VLAN]\nId=30\n";
    tree.group_file("etc/systemd/network/30-guests.netdev", vlan, "systemd-network");
}

fn system(appliance: &Appliance, tree: &mut Tree) {
    let host = &appliance.device.hostname;
    tree.file("etc/hostname", format!("{host}\n"), 0o644);
    let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {host}\n::1 localhost\n");
    tree.file("etc/hosts", hosts, 0o644);
    let (uuid, role) = (&appliance.device.uuid, appliance.device.role);
    let device = format!("UUID={uuid}\nROLE={role}\nSETUP=done\n");
    tree.file("etc/appliance/device.conf", device, 0o644);
    let zone = if appliance.in_service { "Europe/Zurich" } else { "Etc/UTC" };
    tree.link("etc/localtime", format!("../usr/share/zoneinfo/{zone}"));
    if appliance.in_service {
        let dns = "[Resolve]\nDNS=192.0.2.53 2001:db8::53\nDomains=example.net\n";
        tree.file("etc/systemd/resolved.conf.d/10-dns.conf", dns, 0o644);
        let ntp = "[Time]\nNTP=ntp.example.net\n";
        tree.file("etc/systemd/timesyncd.conf.d/10-ntp.conf", ntp, 0o644);
    }
}

fn firewall(appliance: &Appliance, tree: &mut Tree) {
    let base = "#!/usr/sbin/nft -f\n\nflush ruleset\n\ninclude \"/etc/nftables.d/*.nft\"\n";
    tree.file("etc/nftables.conf", base, 0o755);
    let from = match appliance.in_service {
        true => "192.0.2.0/24",
        false => "192.168.45.0/24",
    };
    tree.file("etc/nftables.d/10-input.nft", input(from), 0o644);
    if appliance.in_service {
        tree.file("etc/nftables.d/20-forward.nft", FORWARD, 0o644);
    }
}

fn input(from: &str) -> String {
    format!(
        "table inet appliance {{\n\
         \tchain input {{\n\
         \t\ttype filter hook input priority filter; policy drop;\n\
         \t\tct state established,related accept\n\
         \t\tiif \"lo\" accept\n\
         \t\tip saddr {from} tcp dport 22 accept\n\
         \t\ticmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, echo-request }} accept\n\
         \t}}\n}}\n"
    )
}

const FORWARD: &str = r#"table inet edge {
	set servers {
		type ipv6_addr
		flags interval
		elements = { 2001:db8:20::/64 }
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		ip6 saddr 2001:db8:30::/64 ip6 daddr @servers tcp dport { 80, 443 } accept comment "guests to servers"
		ip6 saddr 2001:db8:10::/64 tcp dport 443 counter accept
		log prefix "policy-drop " counter
	}
}
"#;

fn ssh(appliance: &Appliance, tree: &mut Tree) -> Result<()> {
    let sshd = "Include /etc/ssh/sshd_config.d/*.conf\n\n\
         HostKey /etc/ssh/ssh_host_ed25519_key\nHostKey /etc/ssh/ssh_host_ecdsa_key\n\
         PermitRootLogin no\nKbdInteractiveAuthentication no\nUsePAM yes\nX11Forwarding no\n\
         AcceptEnv LANG LC_*\n";
    tree.file("etc/ssh/sshd_config", sshd, 0o644);
    let host = &appliance.device.hostname;
    for (name, algorithm) in [("ed25519", Algorithm::Ed25519), ("ecdsa", keys::ecdsa())] {
        let (private, public) = keys::ssh(algorithm, &format!("root@{host}"))?;
        let path = format!("etc/ssh/ssh_host_{name}_key");
        tree.file(&path, private, 0o600);
        tree.file(&format!("{path}.pub"), public, 0o644);
    }
    if appliance.in_service {
        let own = "AllowUsers admin alice\nMaxAuthTries 3\nClientAliveInterval 60\n";
        tree.file("etc/ssh/sshd_config.d/10-access.conf", own, 0o644);
        let (_, public) = keys::ssh(Algorithm::Ed25519, "")?;
        let known = format!("backup.example.net,192.0.2.40 {}\n", public.trim());
        tree.file("etc/ssh/ssh_known_hosts", known, 0o644);
    }
    Ok(())
}

/// The audit log's certificate, and the VPN: certificates, keys and connections.
fn certificates(appliance: &Appliance, tree: &mut Tree) -> Result<()> {
    let host = &appliance.device.hostname;
    let authority = keys::Authority::new("Example authority")?;
    let image = "# Connections are in conf.d.\ninclude conf.d/*.conf\n";
    tree.file("etc/swanctl/swanctl.conf", image, 0o640);
    let vpns: &[(&str, &str)] = match appliance.in_service {
        true => &[("site-b", "192.0.2.200"), ("site-c", "2001:db8:c::1")],
        false => &[("first-installation", "192.0.2.250")],
    };
    for (name, remote) in vpns {
        let certificate = authority.certificate(&format!("{host}-{name}.example.net"))?;
        let connection = connection(name, remote, host);
        tree.file(&format!("etc/swanctl/conf.d/{name}.conf"), connection, 0o640);
        tree.file(&format!("etc/swanctl/x509/{name}.pem"), certificate.pem, 0o644);
        tree.file(&format!("etc/swanctl/private/{name}.pem"), certificate.key, 0o600);
    }
    tree.folder("etc/swanctl/private", 0o700);
    tree.file("etc/swanctl/x509ca/example.pem", authority.pem.clone(), 0o644);
    if appliance.in_service {
        let audit = authority.certificate(&format!("{host}-audit.example.net"))?;
        tree.file("etc/appliance/pki/authorities/example.pem", authority.pem, 0o644);
        tree.file("etc/appliance/pki/certificates/audit.pem", audit.pem, 0o644);
        tree.folder("etc/appliance/pki/private", 0o750);
        tree.group_file("etc/appliance/pki/private/audit.pem", audit.key, "ssl-cert");
    }
    Ok(())
}

fn connection(name: &str, remote: &str, host: &str) -> String {
    format!(
        "connections {{\n  {name} {{\n    version = 2\n    remote_addrs = {remote}\n\
         \x20   local {{\n      auth = pubkey\n      certs = {name}.pem\n      id = {host}-{name}.example.net\n    }}\n\
         \x20   remote {{\n      auth = pubkey\n      id = {name}.example.net\n    }}\n\
         \x20   children {{\n      {name} {{\n        local_ts = 2001:db8:20::/64\n        remote_ts = 2001:db8:b::/64\n\
         \x20       start_action = trap\n      }}\n    }}\n  }}\n}}\n"
    )
}

fn ha(appliance: &Appliance, tree: &mut Tree) {
    let host = &appliance.device.hostname;
    let global = format!(
        "global_defs {{\n    router_id {host}\n    enable_script_security\n    dynamic_interfaces\n}}\n"
    );
    let instance = match appliance.in_service {
        true => VRRP,
        false => "",
    };
    let path = "etc/keepalived/keepalived.conf";
    tree.file(path, format!("{global}{instance}"), 0o640);
    if appliance.device.role != Role::Standalone {
        let group = format!("ROLE={}\nPEERS=2001:db8:f::2\n", appliance.device.role);
        tree.file("etc/appliance/ha/group.conf", group, 0o644);
        let key = super::derived(7, "group key");
        tree.file("etc/appliance/ha/group.key", format!("{key}\n"), 0o600);
    }
}

const VRRP: &str = "
vrrp_instance data0 {
    state BACKUP
    interface data0
    virtual_router_id 51
    priority 150
    advert_int 1
    virtual_ipaddress {
        fe80::51 dev data0
        2001:db8:10::fe/64 dev data0
    }
}
";

/// Without a certificate: of itself, no appliance of the tests looks for its manager.
fn manager(appliance: &Appliance, tree: &mut Tree) {
    let Some(manager) = &appliance.registration else {
        return;
    };
    let (host, name, state) = (&manager.host, &manager.name, &manager.state);
    let device = &manager.device_uuid;
    let text = format!("HOST={host}\nNAME=\"{name}\"\nDEVICE_UUID={device}\nSTATE={state}\n");
    tree.file("etc/appliance/manager.conf", text, 0o644);
    let key = super::derived(appliance.seed, "registration key");
    tree.file("etc/appliance/manager.key", format!("{key}\n"), 0o600);
}

/// Each side has a list that both have, with other content, and one that the other lacks.
fn lists(appliance: &Appliance, tree: &mut Tree) {
    let (own, hash) = match appliance.in_service {
        true => ("blocked", "known good on the old unit"),
        false => ("quarantine", "known good on the new unit"),
    };
    for name in ["clean", own] {
        let line = super::derived(appliance.seed, &format!("{hash} {name}"));
        let path = format!("var/lib/appliance/file-lists/{name}.list");
        tree.file(&path, format!("{line}\n"), 0o644);
    }
    if appliance.in_service {
        let event = "{\"time\":\"2026-01-05T08:00:00Z\",\"text\":\"policy deployed\"}\n";
        tree.file("var/lib/appliance/events/000001.json", event, 0o644);
    }
}
