//! What an appliance makes of the properties that it was deployed with: the image's own script, at a first boot, in mounts,
//! a network and a host name of its own.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reinstate_tests::appliance::reference_profile;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// $1 the agent, $2 the image's sources, $3 the test's folder: what is where, then the first boot.
const BOOT: &str = r#"
mount --make-rprivate /
mount -t tmpfs -o mode=755 layers "$3/layers"
for layer in etc usr; do mkdir -p "$3/layers/$layer/upper" "$3/layers/$layer/work"; done
mkdir -p "$3/layers/usr/upper/sbin" "$3/layers/usr/upper/lib/reinstate" "$3/layers/etc/upper/appliance"
printf '#!/bin/sh\nexec %s reinstated "$@"\n' "$1" >"$3/layers/usr/upper/sbin/reinstated"
chmod 755 "$3/layers/usr/upper/sbin/reinstated"
cp -r "$2/profile/profile.d" "$2/profile/domains.d" "$3/layers/usr/upper/lib/reinstate"
mount -t overlay -o "lowerdir=/usr,upperdir=$3/layers/usr/upper,workdir=$3/layers/usr/work" usr /usr
mount -t overlay -o "lowerdir=$2/tree/etc:/etc,upperdir=$3/layers/etc/upper,workdir=$3/layers/etc/work" etc /etc
mount -t tmpfs -o mode=755 var /var/lib
mount -t tmpfs -o mode=755 run /run
mkdir -p /var/lib/appliance /run/credentials/@system
cp "$3/credentials/"* /run/credentials/@system
ip link set dev lo up
sed -i /^admin:/d /etc/passwd /etc/shadow
echo admin:x:1000:1000::/:/bin/false >>/etc/passwd
echo 'admin:!:20000::::::' >>/etc/shadow
for boot in 1 2; do
  rm -f /var/lib/appliance/first-boot.done
  "$2/tree/usr/lib/appliance/first-boot"
done >"$3/said" 2>&1
uname -n >"$3/uname"
ip -o address show dev lo scope global >"$3/loopback"
cp /etc/hostname /etc/hosts /etc/shadow /etc/appliance/device.conf /etc/systemd/network/10-management0.network "$3"
"#;

/// What is there after two first boots, the first of which was cut short at its last step.
struct Deployed(TempDir);

impl Deployed {
    fn with(properties: &[(&str, &str)]) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "namespaces need root: run the tests as root");
        let folder = tempfile::tempdir().unwrap();
        for name in ["layers", "credentials"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("credentials/other"), "").unwrap();
        for (name, value) in properties {
            fs::write(folder.path().join(format!("credentials/appliance.{name}")), value).unwrap();
        }
        let image: PathBuf = reference_profile().join("..").canonicalize().unwrap();
        let done = Command::new("unshare")
            .args(["--mount", "--net", "--uts", "sh", "-ec", BOOT, "sh", PROGRAM])
            .args([&image, folder.path()])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        Self(folder)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    /// The lines of the management interface that are not the factory's.
    fn network(&self) -> Vec<String> {
        let file = Path::new("../tree/etc/systemd/network/10-management0.network");
        let factory = fs::read_to_string(reference_profile().join(file)).unwrap();
        let text = self.text("10-management0.network");
        assert_eq!(self.text("loopback"), "", "what was tried is taken away again");
        text.lines().filter(|line| !factory.lines().any(|known| known == *line)).map(String::from).collect()
    }

    fn is_set_up(&self) -> bool {
        self.text("device.conf").lines().any(|line| line == "SETUP=done")
    }
}

#[test]
fn a_name_with_its_domain_both_families_and_search_domains_are_taken() {
    let new = Deployed::with(&[
        ("hostname", "fw.example.com"),
        ("address", "192.0.2.7/25\n"),
        ("gateway", "192.0.2.1"),
        ("address6", "2001:db8::7"),
        ("gateway6", "2001:db8::1"),
        ("dns", "192.0.2.53,2001:db8::53"),
        ("search", "example.com,example.net"),
    ]);
    assert_eq!((&*new.text("hostname"), &*new.text("uname")), ("fw.example.com\n", "fw.example.com\n"));
    assert!(new.text("hosts").contains("127.0.1.1 fw.example.com fw\n"), "{}", new.text("hosts"));
    assert_eq!(
        new.network(),
        [
            "Address=192.0.2.7/25",
            "Address=2001:db8::7/64",
            "Gateway=192.0.2.1",
            "Gateway=2001:db8::1",
            "DNS=192.0.2.53",
            "DNS=2001:db8::53",
            "Domains=example.com example.net",
        ]
    );
    let text = new.text("10-management0.network");
    assert!(!text.contains("192.168.45.45") && text.contains("IPv6AcceptRA=no"), "{text}");
    assert!(!new.is_set_up());
}

#[test]
fn addresses_may_come_from_a_server_and_from_a_router() {
    let new = Deployed::with(&[("address", "dhcp"), ("address6", "router")]);
    assert_eq!(new.network(), ["DHCP=ipv4", "IPv6AcceptRA=yes"]);
    assert!(!new.text("10-management0.network").contains("Address="));
    let new = Deployed::with(&[("address6", "router")]);
    assert_eq!(new.network(), ["IPv6AcceptRA=yes"]);
    assert!(new.text("10-management0.network").contains("Address=192.168.45.45/24\n"), "the factory's stays");
    let new = Deployed::with(&[("address", "2001:db8::7/64")]);
    assert_eq!(new.network(), ["Address=2001:db8::7/64"]);
}

#[test]
fn what_is_no_name_and_no_address_is_left_out_and_named() {
    let long = "a".repeat(64);
    for name in [
        "fw_1",
        "-fw",
        "fw-",
        "fw..example",
        ".fw",
        "fw.",
        "fw.-a",
        "a\nb",
        "192.0.2.1",
        "fw;reboot",
        &long,
        &format!("{0}.{0}", "a".repeat(32)),
    ] {
        let new = Deployed::with(&[("hostname", name)]);
        assert_eq!(new.text("hostname"), "reinstate\n", "{name}");
        assert!(new.text("said").contains("is no host name"), "{name}: {}", new.text("said"));
    }
    let servers: Vec<String> = (1..=9).map(|last| format!("192.0.2.{last}")).collect();
    let new = Deployed::with(&[("dns", servers.join(",").as_str())]);
    assert_eq!(new.network().len(), 8, "as many as the first login takes");
    assert!(new.text("said").contains("'192.0.2.9'"), "{}", new.text("said"));
    let new = Deployed::with(&[
        ("address", "192.0.2.300"),
        ("gateway", "192.0.2.1/24"),
        ("address6", "192.0.2.9/24"),
        ("gateway6", "192.0.2.1"),
        ("dns", "dns.example"),
        ("search", "exam_ple,~example.net"),
    ]);
    assert_eq!(new.network(), Vec::<String>::new());
    let said = new.text("said");
    for named in [
        "'192.0.2.300/24'",
        "'192.0.2.1/24'",
        "'192.0.2.9/24'",
        "'192.0.2.1'",
        "'dns.example'",
        "'exam_ple'",
        "'~example.net'",
    ] {
        assert!(said.contains(named), "{named}: {said}");
    }
}

#[test]
fn a_password_against_the_rules_lets_in_and_the_first_login_asks_for_another_one() {
    let shadow = |new: &Deployed| {
        let text = new.text("shadow");
        text.lines().find(|line| line.starts_with("admin:")).unwrap().to_owned()
    };
    for (password, set_up) in [
        ("Corr3ct horse & \"battery\"", true),
        ("short", false),
        ("onlylowercase1", false),
        ("xxADMIN99!", false),
        (
            "$6$abcdefghijklmnop$WIRMtaVYtyOXnLrEYwY5b2s/9DHtJHJ1y2TWLzO5PcrUpm7EkgbYcgGsY2WBVfEk7dpk8dHvXXHTHfZsh4vHd0",
            true,
        ),
    ] {
        let new = Deployed::with(&[("admin-password", password)]);
        let hash = shadow(&new);
        assert!(!hash.starts_with("admin:!"), "{password}: {hash}");
        assert!(!password.starts_with('$') || hash.contains(password), "{hash}");
        assert_eq!(new.is_set_up(), set_up, "{password}: {}", new.text("said"));
        let said = new.text("said");
        assert_eq!(said.contains("asks for another password"), !set_up, "{password}: {said}");
        assert_eq!(said.contains("password-refused"), !set_up, "{password}: {said}");
        assert!(!new.text("said").contains(password));
    }
    let new = Deployed::with(&[("admin-password", "Goo4-one\nroot:Goo4-one")]);
    assert!(!new.is_set_up() && new.text("said").contains("was not accepted"));
    assert!(shadow(&new).starts_with("admin:!"));
}
