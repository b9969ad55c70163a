//! How the appliance is reached.

use std::net::Ipv4Addr;

use reinstate_api::{Addressing, Code, Failure, InterfaceView, Method, Network, Ssh};

use super::{DONE, Shown, WIDTH, field, lines};
use crate::Shell;

pub fn network(shell: &mut Shell) -> Shown {
    let network: Network = shell.client.get("/v1/network")?;
    shell.console.line(format!("{:=^WIDTH$}", "[ System Information ]"));
    field(shell, "Hostname", &network.hostname);
    field(shell, "Domains", network.search_domains.join(", "));
    field(shell, "DNS Servers", network.dns_servers.join(", "));
    let routes = [("IPv4", &network.management.ipv4), ("IPv6", &network.management.ipv6)];
    for (version, addressing) in routes {
        if let Some(gateway) = &addressing.gateway {
            shell.console.line(format!("{version} Default route"));
            field(shell, "  Gateway", gateway);
        }
    }
    shell.console.line("");
    interface(shell, &network.management);
    DONE
}

pub fn interfaces(shell: &mut Shell, name: Option<&str>) -> Shown {
    let wanted = match name {
        Some(name) => vec![interface_named(shell, name)?],
        None => shell.client.get("/v1/interfaces")?,
    };
    for (i, one) in wanted.iter().enumerate() {
        if i > 0 {
            shell.console.line("");
        }
        interface(shell, one);
    }
    DONE
}

pub fn interface_named(shell: &mut Shell, name: &str) -> Result<InterfaceView, Vec<Failure>> {
    let all: Vec<InterfaceView> = shell.client.get("/v1/interfaces")?;
    let known: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    let why = format!("there is no interface {name}; there are {}", known.join(", "));
    let found = all.into_iter().find(|one| one.name == name);
    found.ok_or_else(|| vec![Failure::new(Code::NotFound, why)])
}

fn interface(shell: &mut Shell, one: &InterfaceView) {
    shell.console.line(format!("{:=^WIDTH$}", format!("[ {} ]", one.name)));
    let told = |value: Option<bool>, yes, no| match value {
        Some(true) => yes,
        Some(false) => no,
        None => "not known",
    };
    field(shell, "Admin State", told(one.enabled, "Enabled", "Disabled"));
    field(shell, "Link", told(one.link, "Up", "Down"));
    field(shell, "MTU", one.mtu.map_or_else(|| "not known".into(), |mtu| mtu.to_string()));
    field(shell, "MAC Address", &one.mac);
    addressing(shell, "[ IPv4 ]", &one.ipv4);
    addressing(shell, "[ IPv6 ]", &one.ipv6);
}

fn addressing(shell: &mut Shell, title: &str, addressing: &Addressing) {
    shell.console.line(format!("{title:-^WIDTH$}"));
    let method = match addressing.method {
        Method::Disabled => "Disabled",
        Method::Manual => "Manual",
        Method::Dhcp => "DHCP",
        Method::Router => "Router",
    };
    field(shell, "Configuration", method);
    for address in &addressing.addresses {
        let (address, length) = address.split_once('/').unwrap_or((address, ""));
        field(shell, "Address", address);
        match length.parse::<u32>() {
            Ok(length @ 0..=32) if address.parse::<Ipv4Addr>().is_ok() => {
                let bits = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                field(shell, "Netmask", Ipv4Addr::from_bits(bits).to_string());
            }
            Ok(length) => field(shell, "Prefix", length.to_string()),
            Err(_) => {}
        }
    }
    if let Some(gateway) = &addressing.gateway {
        field(shell, "Gateway", gateway);
    } else if addressing.method == Method::Manual {
        field(shell, "Gateway", "none");
    }
}

pub fn ssh(shell: &mut Shell) -> Shown {
    let ssh: Ssh = shell.client.get("/v1/ssh")?;
    let open = if ssh.access_list.is_empty() { "everywhere".into() } else { ssh.access_list.join(", ") };
    field(shell, "SSH is open from", open);
    if ssh.trusted_hosts.is_empty() {
        shell.console.line("No servers are trusted.");
        return DONE;
    }
    let mut rows = vec![["Server", "Algorithm", "Fingerprint", "By"].map(str::to_owned).to_vec()];
    for host in ssh.trusted_hosts {
        let by = if host.configured { "configuration" } else { "an admin's answer" };
        rows.push(vec![host.host, host.algorithm, host.fingerprint, by.to_owned()]);
    }
    lines(shell, &rows, &[])
}
