//! An HA pair of whole appliances of the image, with keepalived over the failover link.

use std::net::{IpAddr, Ipv4Addr};

use reinstate_api::Role;

use super::{Listed, Roster};

/// Where the active member answers, on the failover link.
pub const VIRTUAL: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);

/// For who looks at that from outside, with prefix length.
pub const OBSERVER: &str = "198.51.100.250/24";

impl Roster {
    /// Primary `fw-a` and secondary `fw-b`, on the management link that the image is delivered for.
    pub fn pair() -> Self {
        let mut pair = Self::new("edge", &[Role::Primary, Role::Secondary]);
        for (member, last) in pair.members.iter_mut().zip(60..) {
            member.management = format!("192.168.45.{last}/24");
        }
        pair
    }

    /// Makes an appliance, as it leaves the factory, this member from its next boot on. `say` runs a command there
    /// as root, with this input.
    pub fn configure(&self, number: usize, say: impl Fn(&str, &[u8]) -> String) {
        let Listed { uuid, hostname, role, management, failover, host_key } = &self.members[number];
        say("until . /etc/appliance/device.conf; do sleep 1; done", b"");
        let put = |path: &str, mode: &str, text: &str| {
            say(&format!("install -m {mode} /dev/stdin {path}"), text.as_bytes());
        };
        put("/etc/appliance/device.conf", "644", &format!("UUID={uuid}\nROLE={role}\nSETUP=done\n"));
        put("/etc/hostname", "644", &format!("{hostname}\n"));
        put("/etc/appliance/ha/group.toml", "644", &self.text());
        put("/etc/appliance/ha/group.key", "600", &self.key);
        put("/etc/appliance/ha/host.key", "600", &host_key.0);
        put("/etc/keepalived/keepalived.conf", "644", &self.keepalived(number));
        let network = "cd /etc/systemd/network";
        say(
            &format!("{network} && sed -i 's|^Address=.*|Address={management}|' 10-management0.network"),
            b"",
        );
        say(&format!("{network} && echo Address={failover} >> 20-failover0.network"), b"");
        say(&format!("sed -i 's/^127\\.0\\.1\\.1.*/127.0.1.1 {hostname}/' /etc/hosts && sync"), b"");
    }

    /// Who is active stays it: a member that comes back changes nothing.
    fn keepalived(&self, number: usize) -> String {
        let own = &self.members[number];
        let peers = self.members.iter().filter(|member| member.uuid != own.uuid);
        let peers: String = peers.map(|peer| format!("        {}\n", address(&peer.failover))).collect();
        let (hostname, priority) = (&own.hostname, 150 - number);
        let source = address(&own.failover);
        format!(
            "global_defs {{\n    router_id {hostname}\n    enable_script_security\n    dynamic_interfaces\n}}\n\n\
             vrrp_instance edge {{\n    state BACKUP\n    nopreempt\n    interface failover0\n    \
             virtual_router_id 51\n    priority {priority}\n    advert_int 1\n    \
             unicast_src_ip {source}\n    unicast_peer {{\n{peers}    }}\n    \
             virtual_ipaddress {{\n        {VIRTUAL}/24\n    }}\n}}\n"
        )
    }
}

impl Listed {
    /// Where it is managed.
    pub fn address(&self) -> IpAddr {
        address(&self.management)
    }
}

fn address(with_prefix: &str) -> IpAddr {
    with_prefix.split('/').next().unwrap_or_default().parse().unwrap()
}
