use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use reinstate_agent::domain::{Domains, Policy};
use reinstate_agent::facts::Facts;
use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::profile::{self, Profile};
use reinstate_agent::tree::TreePath;

use super::*;

fn built(appliance: &Appliance) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    appliance.build(folder.path()).unwrap();
    folder
}

fn load(root: &Path) -> (Folder, Profile, Domains) {
    let folder = Folder::open(root, Arc::new(Direct)).unwrap();
    let (profile, domains) = profile::load(&folder).expect("the reference profile is without faults");
    (folder, profile, domains)
}

#[test]
fn the_reference_profile_reads_a_donor_as_it_was_built() {
    let donor = Appliance::donor("fw-a");
    let root = built(&donor);
    let (folder, profile, _) = load(root.path());
    let facts = Facts::read(&folder, &profile).unwrap();
    let mut hardware = donor.hardware.clone();
    for (interface, name) in hardware.interfaces.iter_mut().zip(&profile.hardware.interfaces) {
        interface.name.clone_from(name);
    }
    assert_eq!(facts.hardware, hardware);
    assert_eq!(facts.device, donor.device);
    assert_eq!(facts.software, donor.software);
    assert_eq!(facts.registration, donor.registration);
    assert_eq!(facts.licence, donor.licence);
    assert!(profile.hardware.hypervisors.contains(&facts.hypervisor));
}

#[test]
fn a_replacement_is_another_machine_of_the_same_kind() {
    let (donor, replacement) = (Appliance::donor("fw-a"), Appliance::replacement());
    let root = built(&replacement);
    let (folder, profile, _) = load(root.path());
    let facts = Facts::read(&folder, &profile).unwrap();
    assert_ne!(facts.hardware.serial, donor.hardware.serial);
    assert_ne!(facts.hardware.uuid, donor.hardware.uuid);
    assert_ne!(facts.device.uuid, donor.device.uuid);
    for (new, old) in facts.hardware.interfaces.iter().zip(&donor.hardware.interfaces) {
        assert_eq!((&new.slot, &new.kind), (&old.slot, &old.kind));
        assert_ne!(new.mac, old.mac);
        assert_ne!(new.kernel, old.kernel);
    }
    assert_eq!(facts.software, donor.software);
    assert_eq!(facts.registration, None);
}

#[test]
fn a_virtio_interface_and_network_modules_are_read_from_sysfs() {
    let appliance = Appliance::replacement()
        .interface("0000:13:00.0", "virtio_net", "enp19s0", "52:54:00:00:00:01")
        .without_interface("0000:1b:00.0")
        .network_modules(2);
    let root = built(&appliance);
    let (folder, profile, _) = load(root.path());
    let hardware = Facts::read(&folder, &profile).unwrap().hardware;
    assert_eq!(hardware.network_modules, 2);
    assert_eq!(hardware.interfaces.len(), 3);
    let last = &hardware.interfaces[2];
    assert_eq!((last.name.as_str(), last.slot.as_str()), ("data0", "0000:13:00.0"));
    assert_eq!((last.kind.as_str(), last.mac.as_str()), ("virtio_net", "52:54:00:00:00:01"));
}

/// Every file below the root with the domain that owns it.
fn owned(root: &Path, domains: &Domains) -> Vec<(TreePath, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if !kind.is_symlink() {
                let path = entry.path();
                let path = path.strip_prefix(root).unwrap().to_str().unwrap();
                let path: TreePath = path.parse().unwrap();
                if let Some(domain) = domains.iter().find(|domain| domain.owns(&path)) {
                    found.push((path, domain.name.clone()));
                }
            }
        }
    }
    found
}

#[test]
fn no_line_that_an_appliance_is_delivered_with_is_refused() {
    for appliance in [Appliance::donor("fw-a").role(Role::Primary), Appliance::replacement()] {
        let root = built(&appliance);
        let (_, _, domains) = load(root.path());
        for (path, name) in owned(root.path(), &domains) {
            let text = std::fs::read_to_string(root.path().join(path.as_str())).unwrap();
            domains.get(&name).unwrap().inspect(&path, text.as_bytes()).unwrap();
        }
    }
}

#[test]
fn a_line_that_would_run_a_program_or_equal_root_is_refused() {
    let root = built(&Appliance::replacement());
    let (_, _, domains) = load(root.path());
    let sshd = "etc/ssh/sshd_config.d/10-access.conf";
    let keepalived = "etc/keepalived/keepalived.conf";
    for (domain, path, line) in [
        ("ssh", sshd, "ForceCommand /tmp/x"),
        ("ssh", sshd, "  \"forcecommand\" /tmp/x"),
        ("ssh", sshd, "=authorizedkeyscommand=/tmp/x"),
        ("ssh", sshd, "Subsystem sftp /tmp/x"),
        ("ssh", sshd, "Subsystem other /usr/lib/openssh/sftp-server"),
        ("ssh", sshd, "Subsystem sftp internal-sftp"),
        ("ssh", sshd, "  AllowTcpForwarding yes"),
        ("ssh", sshd, "allowtcpforwarding=local"),
        ("ssh", sshd, "\"AllowTcpForwarding\" remote"),
        ("ssh", sshd, "AllowTcpForwarding \"no\" # yes"),
        ("ssh", sshd, "AllowStreamLocalForwarding all"),
        ("ssh", sshd, "=AllowAgentForwarding yes"),
        ("ssh", sshd, "\tX11Forwarding\tyes"),
        ("ssh", sshd, "PermitTunnel point-to-point"),
        ("ssh", sshd, "GatewayPorts clientspecified"),
        ("ssh", sshd, "DisableForwarding no"),
        ("ssh", sshd, "PermitEmptyPasswords yes"),
        ("ssh", sshd, "AcceptEnv LD_PRELOAD"),
        ("ssh", "etc/ssh/sshd_config", "Include /tmp/x"),
        ("ssh", "etc/ssh/sshd_config", "PermitUserEnvironment yes"),
        ("ha", keepalived, "    notify_master /tmp/x"),
        ("ha", keepalived, "vrrp_script check {"),
        ("ha", keepalived, "@main startup_script /tmp/x"),
        ("ha", keepalived, "$X=notify_up"),
        ("ha", keepalived, "include /tmp/x"),
        ("firewall", "etc/nftables.conf", "include \"/etc/shadow\""),
        ("firewall", "etc/nftables.d/a.nft", "table inet a { }; include \"/tmp/a\""),
        ("vpn", "etc/swanctl/conf.d/a.conf", "  updown = /tmp/x"),
        ("vpn", "etc/swanctl/conf.d/a.conf", "connections.a.children.b.updown = /tmp/x"),
        ("users", "etc/passwd", "eve:x:0:0::/:/usr/bin/bash"),
        ("users", "etc/passwd", "eve:x:+00:1000::/:/usr/bin/bash"),
        ("users", "etc/passwd", "eve:x:4294967296:1000::/:/usr/bin/bash"),
        ("users", "etc/passwd", "+::::::"),
        ("users", "etc/passwd", "eve::1005:1005::/:/usr/bin/bash"),
        ("users", "etc/passwd", "eve:x:1005:1005::/:/tmp/x"),
        ("users", "etc/shadow", "eve::19800:0:99999:7:::"),
    ] {
        let path: TreePath = path.parse().unwrap();
        let domain = domains.get(domain).unwrap();
        assert!(domain.owns(&path), "{path}");
        let refused = domain.inspect(&path, line.as_bytes()).is_err();
        assert!(refused, "{path}: {line}");
    }
}

#[test]
fn a_line_that_closes_what_the_image_closes_too_is_let_through() {
    let root = built(&Appliance::replacement());
    let (_, _, domains) = load(root.path());
    let path: TreePath = "etc/ssh/sshd_config".parse().unwrap();
    for line in
        ["X11Forwarding no", "  allowtcpforwarding NO", "DisableForwarding yes", "AcceptEnv LANG LC_*"]
    {
        domains.get("ssh").unwrap().inspect(&path, line.as_bytes()).unwrap();
    }
}

#[test]
fn every_domain_of_a_donor_in_service_holds_something() {
    let root = built(&Appliance::donor("fw-a").role(Role::Primary));
    let (_, _, domains) = load(root.path());
    let owned = owned(root.path(), &domains);
    for domain in domains.iter() {
        let mut mine = owned.iter().filter(|(_, name)| *name == domain.name);
        assert!(mine.next().is_some(), "{}", domain.name);
        let private = |path: &TreePath| {
            std::fs::read_to_string(root.path().join(path.as_str()))
                .is_ok_and(|text| text.contains("PRIVATE KEY"))
        };
        for (path, _) in owned.iter().filter(|(_, name)| *name == domain.name) {
            assert!(!private(path) || domain.is_secret(path), "{path} is not sealed");
        }
    }
    let vpn = domains.get("vpn").unwrap();
    assert_eq!(vpn.restore, Policy::Remove);
    assert!(!vpn.owns(&"etc/swanctl/swanctl.conf".parse().unwrap()));
    let network = domains.get("network").unwrap();
    assert!(!network.owns(&"etc/systemd/network/10-data0.link".parse().unwrap()));
    let zone = "../usr/share/zoneinfo/Europe/Zurich";
    let system = domains.get("system").unwrap();
    assert!(system.allows_link(&"etc/localtime".parse().unwrap(), zone));
}

/// Runs a validator with the appliance's tree for a root.
fn accepted(root: &Path, argv: &[String]) -> bool {
    for folder in ["usr", "dev", "run/sshd", "vendor"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (link, target) in [("lib", "usr/lib"), ("lib64", "usr/lib64"), ("bin", "usr/bin")] {
        std::os::unix::fs::symlink(target, root.join(link)).ok();
    }
    let mount = "set -e; mount --bind \"$1/usr/lib/reinstate\" \"$1/vendor\"; mount --rbind /usr \"$1/usr\"; mount --rbind /dev \"$1/dev\"; \
                 root=$1; shift; exec chroot \"$root\" \"$@\"";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--user", "--net", "--mount", "sh", "-c", mount, "sh"])
        .arg(root)
        .args(argv)
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&output.stderr);
    println!("{argv:?}: {}\n{says}", output.status);
    output.status.success()
}

#[test]
fn the_real_programs_accept_what_an_appliance_is_built_with() {
    for appliance in [Appliance::donor("fw-a"), Appliance::replacement()] {
        let root = built(&appliance);
        let (_, _, domains) = load(root.path());
        for domain in domains.iter().filter(|domain| !domain.validate.is_empty()) {
            let argv: Vec<_> = domain
                .validate
                .iter()
                .map(|word| word.replace("{root}", "").replace("{vendor}", "/vendor"))
                .collect();
            assert!(
                Path::new(&argv[0]).exists(),
                "{} is missing: install nftables, openssh-server and keepalived",
                argv[0]
            );
            assert!(accepted(root.path(), &argv), "{argv:?}");
        }
    }
}
