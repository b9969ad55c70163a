//! The first login: what the appliance has to know before it can be reached, asked once.

use std::net::{IpAddr, Ipv4Addr};

use reinstate_api::{
    Change, Code, ConfigureRequest, Failure, InterfaceView, Ipv4, Ipv6, Location, Method, Network,
    RestoreRequest, Secret, Setup, Source, Started,
};

use crate::question::{agreed, heard};
use crate::watch::{self, Settled, watch};
use crate::{Exit, Flow, Shell, configure, details, values};

/// Wrong answers to one question before the session ends.
const TRIES: usize = 10;

/// Whoever answers is gone, or gives up: the next login begins anew.
struct Left;

type Asked<T> = Result<T, Left>;

/// Asks, configures, offers a restore. Some where the session ends with it.
pub fn run(shell: &mut Shell) -> Option<Exit> {
    let known = shell.client.get::<Setup>("/v1/setup").and_then(|setup| {
        let network: Network = shell.client.get("/v1/network")?;
        Ok((setup, network))
    });
    let (setup, network) = match known {
        Ok(known) => known,
        Err(failures) => {
            shell.refused(&failures);
            return Some(Exit::Failed);
        }
    };
    match ask(shell, &setup, &network) {
        Ok(flow) => flow,
        Err(Left) => {
            shell.console.line("This appliance is not set up. The next login begins anew.");
            Some(Exit::Failed)
        }
    }
}

fn ask(shell: &mut Shell, setup: &Setup, network: &Network) -> Asked<Option<Exit>> {
    licence(shell, &setup.licence)?;
    shell.console.line("");
    shell.console.line("Please answer the questions below. Default values are shown in brackets.");
    shell.console.line("If this appliance replaces a failed one, do not give it that one's address now:");
    shell.console.line("the restore brings it, and two units with one address disturb each other.");
    shell.console.line("");
    details::paragraphs(&mut shell.console, &setup.password_rules);
    let mut secret = password(shell)?;
    let mut others = questions(shell, network)?;
    loop {
        let mut changes = vec![Change::Password { user: None, password: secret.clone() }];
        changes.extend(others.iter().cloned());
        let failures = match configure(shell, changes) {
            Ok(None) => break,
            Ok(Some(exit)) => return Ok(Some(exit)),
            Err(failures) => failures,
        };
        // The agent has the last word. What it refuses is asked again.
        let about_password = failures.iter().any(|failure| failure.code == Code::PasswordRefused);
        let Flow::Next(Exit::Failed) = shell.refused(&failures) else { return Err(Left) };
        match about_password {
            true => secret = password(shell)?,
            false => others = questions(shell, network)?,
        }
    }
    shell.console.line("This appliance is set up.");
    Ok(offer(shell))
}

fn licence(shell: &mut Shell, terms: &[String]) -> Asked<()> {
    shell.console.begin(Vec::new(), true);
    details::paragraphs(&mut shell.console, terms);
    shell.console.end();
    let question = "Please enter 'YES' or press <ENTER> to AGREE to the licence terms: ";
    match answer(shell, question, "yes", "YES or NO", is_yes)? {
        true => Ok(()),
        false => Err(Left),
    }
}

fn password(shell: &mut Shell) -> Asked<Secret> {
    for _ in 0..TRIES {
        if let Some(password) = configure::new_password(shell, None) {
            return Ok(password);
        }
        if shell.console.is_gone() || shell.console.has_ended() {
            return Err(Left);
        }
    }
    Err(Left)
}

fn questions(shell: &mut Shell, network: &Network) -> Asked<Vec<Change>> {
    let mut changes = vec![Change::Ipv4(ipv4(shell, &network.management)?)];
    changes.push(Change::Ipv6(ipv6(shell, &network.management)?));
    let name = or_default(
        shell,
        "Enter a fully qualified hostname for this system",
        &network.hostname,
        "a name of letters, digits and hyphens",
        values::hostname,
    )?;
    changes.push(Change::Hostname(name));
    let servers = or_default(
        shell,
        "Enter a comma-separated list of DNS servers or 'none'",
        &listed(&network.dns_servers),
        "addresses, separated by commas",
        |text| values::list(text, |one| one.parse::<IpAddr>().ok()),
    )?;
    changes.push(Change::DnsServers(servers));
    let domains = or_default(
        shell,
        "Enter a comma-separated list of search domains or 'none'",
        &listed(&network.search_domains),
        "domains, separated by commas",
        |text| values::list(text, values::hostname),
    )?;
    changes.push(Change::SearchDomains(domains));
    Ok(changes)
}

fn listed(values: &[String]) -> String {
    if values.is_empty() { "none".into() } else { values.join(",") }
}

fn ipv4(shell: &mut Shell, interface: &InterfaceView) -> Asked<Ipv4> {
    let now = &interface.ipv4;
    if !yes_no(shell, "Do you want to configure IPv4? (y/n)", now.method != Method::Disabled)? {
        return Ok(Ipv4::Disable);
    }
    let by = if now.method == Method::Dhcp { "dhcp" } else { "manual" };
    let question = "Configure IPv4 via DHCP or manually? (dhcp/manual)";
    if or_default(shell, question, by, "dhcp or manual", |text| one_of(text, &["dhcp", "manual"]))? == "dhcp"
    {
        return Ok(Ipv4::Dhcp);
    }
    let (address, prefix) = split(now.addresses.first().map_or("", String::as_str));
    let address = or_default(
        shell,
        "Enter an IPv4 address for the management interface",
        address,
        "an address like 192.0.2.10",
        |text| text.parse::<Ipv4Addr>().ok(),
    )?;
    let prefix = prefix.parse().ok().filter(|length| (1..=32).contains(length)).unwrap_or(24);
    let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).to_string();
    let prefix = or_default(
        shell,
        "Enter an IPv4 netmask for the management interface",
        &mask,
        "a netmask like 255.255.255.0",
        values::netmask,
    )?;
    let gateway = or_default(
        shell,
        "Enter the IPv4 default gateway for the management interface, or 'none'",
        now.gateway.as_deref().unwrap_or("none"),
        "an address like 192.0.2.1",
        |text| optional(text, |text| text.parse().ok()),
    )?;
    Ok(Ipv4::Manual { address, prefix, gateway })
}

fn ipv6(shell: &mut Shell, interface: &InterfaceView) -> Asked<Ipv6> {
    let now = &interface.ipv6;
    if !yes_no(shell, "Do you want to configure IPv6? (y/n)", now.method != Method::Disabled)? {
        return Ok(Ipv6::Disable);
    }
    let by = if now.method == Method::Manual { "manual" } else { "router" };
    let question = "Configure IPv6 via router or manually? (router/manual)";
    if or_default(shell, question, by, "router or manual", |text| one_of(text, &["router", "manual"]))?
        == "router"
    {
        return Ok(Ipv6::Router);
    }
    let (address, prefix) = split(now.addresses.first().map_or("", String::as_str));
    let address = or_default(
        shell,
        "Enter an IPv6 address for the management interface",
        address,
        "an address like 2001:db8::10",
        |text| text.parse().ok(),
    )?;
    let prefix = or_default(
        shell,
        "Enter the prefix length of that address",
        if prefix.is_empty() { "64" } else { prefix },
        "a number from 1 to 128",
        values::prefix6,
    )?;
    let gateway = or_default(
        shell,
        "Enter the IPv6 default gateway for the management interface, or 'none'",
        now.gateway.as_deref().unwrap_or("none"),
        "an address like 2001:db8::1",
        |text| optional(text, |text| text.parse().ok()),
    )?;
    Ok(Ipv6::Manual { address, prefix, gateway })
}

fn split(address: &str) -> (&str, &str) {
    address.split_once('/').unwrap_or((address, ""))
}

fn one_of(text: &str, words: &[&'static str]) -> Option<&'static str> {
    words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied()
}

/// `none` is a value too.
fn optional<T>(text: &str, value: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text.eq_ignore_ascii_case("none") { Some(None) } else { value(text).map(Some) }
}

fn yes_no(shell: &mut Shell, question: &str, default: bool) -> Asked<bool> {
    let default = if default { "y" } else { "n" };
    or_default(shell, question, default, "y or n", is_yes)
}

fn is_yes(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

/// An empty answer is the default, which is shown.
fn or_default<T>(
    shell: &mut Shell,
    question: &str,
    default: &str,
    form: &str,
    value: impl Fn(&str) -> Option<T>,
) -> Asked<T> {
    answer(shell, &format!("{question} [{default}]: "), default, form, value)
}

/// Asks until the answer is of the type; `empty` is what an empty one stands for.
fn answer<T>(
    shell: &mut Shell,
    question: &str,
    empty: &str,
    form: &str,
    value: impl Fn(&str) -> Option<T>,
) -> Asked<T> {
    for _ in 0..TRIES {
        let text = heard(shell, question).ok_or(Left)?;
        let text = if text.is_empty() { empty.to_owned() } else { text };
        match value(&text) {
            Some(value) => return Ok(value),
            None => shell.console.line(format!("'{text}' is not {form}.")),
        }
    }
    Err(Left)
}

/// Some where the session ends with it.
fn configure(shell: &mut Shell, changes: Vec<Change>) -> Result<Option<Exit>, Vec<Failure>> {
    shell.console.line("Configuring this appliance...");
    let request = ConfigureRequest { changes, confirm_within: None, setup: true };
    let started: Started = shell.client.post("/v1/configure", &request)?;
    match watch::settle(shell, started.id) {
        Settled::Done | Settled::Waits(_) => Ok(None),
        Settled::Not(Flow::Next(exit) | Flow::Leave(exit)) => Ok(Some(exit)),
    }
}

/// A replacement is set up to be restored. Some where the session ends with it.
fn offer(shell: &mut Shell) -> Option<Exit> {
    if !agreed(shell, "Restore a backup onto this appliance now? (y/n): ") {
        shell
            .console
            .line("`restore remote-manager-backup` restores one at any time; ? lists every command.");
        return None;
    }
    let Ok(source) = source(shell) else {
        shell.console.line("Nothing was restored. `restore remote-manager-backup` does it at any time.");
        return None;
    };
    let request =
        RestoreRequest { source, check: false, device: None, overrides: [].into(), confirm_within: None };
    match shell.client.post::<Started>("/v1/restore", &request) {
        Ok(started) => match watch(shell, started.id) {
            Flow::Leave(exit) => Some(exit),
            Flow::Next(_) => None,
        },
        Err(failures) => {
            shell.refused(&failures);
            None
        }
    }
}

/// Where the backup is.
fn source(shell: &mut Shell) -> Asked<Source> {
    let server = answer(
        shell,
        "SSH server that holds the backup (empty for this appliance's own folder): ",
        "",
        "a name or an address, perhaps with :PORT",
        |text| if text.is_empty() { Some(None) } else { values::endpoint(text).map(Some) },
    )?;
    let Some(endpoint) = server else {
        let question = "Name of the backup file: ";
        return answer(shell, question, "", "a file's name", values::file).map(Source::Backup);
    };
    let user = answer(shell, "User on the server: ", "", "a user's name", values::user)?;
    let whole = |text: &str| values::path(text).and_then(|path| values::remote_path(&path, None));
    let path = answer(shell, "Whole path of the backup file: ", "", "a file's path", whole)?;
    let (host, port) = (endpoint.host, endpoint.port);
    Ok(Source::Location(Location { host, port, user, path, fingerprint: None }))
}
