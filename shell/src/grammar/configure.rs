//! Changes of the configuration, and configurations in the store.

use reinstate_api::{Access, Change, Ipv4, Ipv6, ManagerAdd, RenameRequest};

use super::{Command, Part, Row, View, argument, keep, row, secret};
use crate::values;

const CONFIGURE: Part = Part::Word("configure", "Change the configuration");
const NETWORK: Part = Part::Word("network", "How this appliance is reached");
const IPV4: Part = Part::Word("ipv4", "IPv4 of the management interface");
const IPV6: Part = Part::Word("ipv6", "IPv6 of the management interface");
const DNS: Part = Part::Word("dns", "Names of other machines");
const MANAGER: Part = Part::Word("manager", "The manager of this appliance");
const USER: Part = Part::Word("user", "Accounts of this appliance");
const SSH: Part = Part::Word("ssh", "SSH, to this appliance and from it");
const TRUSTED: Part = Part::Word("trusted-host", "Servers whose host keys are known beforehand");
const EXPERT: Part = Part::Word("expert", "A shell of the operating system, where the product has it");
const CONFIGURATION: Part = Part::Word("configuration", "Configurations in the store");
const NAME: Part =
    argument("NAME", "Name of the user", |draft, text| keep(&mut draft.name, values::account(text)));
const CONFIGURATION_NAME: Part =
    argument("NAME", "Name or number, as `show configurations` says it", |draft, text| {
        keep(&mut draft.name, values::word(text))
    });
const SERVER: Part =
    argument("HOST[:PORT]", "Name or address of the server, [2001:db8::1]:22 for IPv6", |draft, text| {
        keep(&mut draft.endpoint, values::endpoint(text))
    });
const ACCESS: Part =
    Part::Choice(&[("basic", "May look"), ("config", "May look, configure and restore")], |draft, word| {
        draft.access = values::access(word)
    });

pub const ROWS: &[Row] = &[
    row(
        Access::Config,
        &[
            CONFIGURE,
            NETWORK,
            IPV4,
            Part::Word("manual", "A fixed address"),
            argument("ADDRESS", "IPv4 address, 192.0.2.10", |draft, text| {
                keep(&mut draft.ipv4, text.parse().ok())
            }),
            argument("NETMASK", "255.255.255.0, or the prefix length: 24", |draft, text| {
                keep(&mut draft.prefix, values::netmask(text))
            }),
            Part::Optional(&[argument("GATEWAY", "IPv4 address of the default gateway", |draft, text| {
                keep(&mut draft.gateway4, text.parse().ok())
            })]),
        ],
        "Give the management interface a fixed IPv4 address",
        |draft| {
            let (address, prefix, gateway) = (draft.ipv4?, draft.prefix?, draft.gateway4);
            Some(Command::Configure(Change::Ipv4(Ipv4::Manual { address, prefix, gateway })))
        },
    ),
    row(
        Access::Config,
        &[CONFIGURE, NETWORK, IPV4, Part::Word("dhcp", "An address from a DHCP server")],
        "Let a DHCP server give the management interface its IPv4 address",
        |_| Some(Command::Configure(Change::Ipv4(Ipv4::Dhcp))),
    ),
    row(
        Access::Config,
        &[CONFIGURE, NETWORK, IPV4, Part::Word("disable", "No IPv4")],
        "Take IPv4 off the management interface",
        |_| Some(Command::Configure(Change::Ipv4(Ipv4::Disable))),
    ),
    row(
        Access::Config,
        &[
            CONFIGURE,
            NETWORK,
            IPV6,
            Part::Word("manual", "A fixed address"),
            argument("ADDRESS", "IPv6 address, 2001:db8::10", |draft, text| {
                keep(&mut draft.ipv6, text.parse().ok())
            }),
            argument("PREFIX", "Prefix length, 1 to 128", |draft, text| {
                keep(&mut draft.prefix, values::prefix6(text))
            }),
            Part::Optional(&[argument("GATEWAY", "IPv6 address of the default gateway", |draft, text| {
                keep(&mut draft.gateway6, text.parse().ok())
            })]),
        ],
        "Give the management interface a fixed IPv6 address",
        |draft| {
            let (address, prefix, gateway) = (draft.ipv6?, draft.prefix?, draft.gateway6);
            Some(Command::Configure(Change::Ipv6(Ipv6::Manual { address, prefix, gateway })))
        },
    ),
    row(
        Access::Config,
        &[CONFIGURE, NETWORK, IPV6, Part::Word("router", "An address as the routers on the link say")],
        "Let routers give the management interface its IPv6 address",
        |_| Some(Command::Configure(Change::Ipv6(Ipv6::Router))),
    ),
    row(
        Access::Config,
        &[CONFIGURE, NETWORK, IPV6, Part::Word("disable", "No IPv6")],
        "Take IPv6 off the management interface",
        |_| Some(Command::Configure(Change::Ipv6(Ipv6::Disable))),
    ),
    row(
        Access::Config,
        &[
            CONFIGURE,
            NETWORK,
            Part::Word("hostname", "The name of this appliance"),
            argument("NAME", "Host name, with or without a domain", |draft, text| {
                keep(&mut draft.host, values::hostname(text))
            }),
        ],
        "Give this appliance a name",
        |draft| Some(Command::Configure(Change::Hostname(draft.host?))),
    ),
    row(
        Access::Config,
        &[
            CONFIGURE,
            NETWORK,
            DNS,
            Part::Word("servers", "Who is asked for them"),
            argument("ADDRESSES", "Addresses, separated by commas; or none", |draft, text| {
                keep(&mut draft.addresses, values::servers(text))
            }),
        ],
        "Say which name servers are asked",
        |draft| Some(Command::Configure(Change::DnsServers(draft.addresses?))),
    ),
    row(
        Access::Config,
        &[
            CONFIGURE,
            NETWORK,
            DNS,
            Part::Word("searchdomains", "Domains that short names are looked for in"),
            argument("DOMAINS", "Domains, separated by commas; or none", |draft, text| {
                keep(&mut draft.names, values::domains(text))
            }),
        ],
        "Say in which domains short names are looked for",
        |draft| Some(Command::Configure(Change::SearchDomains(draft.names?))),
    ),
    row(
        Access::Config,
        &[CONFIGURE, Part::Word("confirm", "Keep a change that has to be confirmed")],
        "Keep a change of the configuration that has to be confirmed",
        |_| Some(Command::RestoreConfirm),
    ),
    row(
        Access::Config,
        &[
            CONFIGURE,
            MANAGER,
            Part::Word("add", "Register with a manager"),
            argument("HOST", "Name or address of the manager", |draft, text| {
                keep(&mut draft.host, values::host(text))
            }),
            secret("KEY", "The registration key, which the manager is given too", |draft, text| {
                keep(&mut draft.key, values::registration_key(text))
            }),
            Part::Optional(&[argument(
                "NATID",
                "A word that both sides are given where one cannot reach the other",
                |draft, text| keep(&mut draft.word, values::word(text)),
            )]),
        ],
        "Register with a manager",
        |draft| {
            let (host, key, nat_id) = (draft.host?, draft.key?, draft.word);
            Some(Command::Configure(Change::ManagerAdd(ManagerAdd { host, key, nat_id })))
        },
    ),
    row(
        Access::Config,
        &[CONFIGURE, MANAGER, Part::Word("delete", "Forget the manager, reachable or not")],
        "Forget the manager, reachable or not",
        |_| Some(Command::ManagerDelete),
    ),
    row(
        Access::Basic,
        &[CONFIGURE, Part::Word("password", "Your own password")],
        "Change your own password",
        |_| Some(Command::ConfigurePassword(None)),
    ),
    row(
        Access::Config,
        &[CONFIGURE, USER, Part::Word("add", "A new account"), NAME, ACCESS],
        "Make an account; its password is asked for",
        |draft| Some(Command::ConfigureUserAdd(draft.name?, draft.access?)),
    ),
    row(
        Access::Config,
        &[CONFIGURE, USER, Part::Word("access", "What an account may do"), NAME, ACCESS],
        "Say what an account may do",
        |draft| {
            let (name, access) = (draft.name?, draft.access?);
            Some(Command::Configure(Change::UserAccess { name, access }))
        },
    ),
    row(
        Access::Config,
        &[CONFIGURE, USER, Part::Word("password", "A new password for an account"), NAME],
        "Give an account a new password, which is asked for",
        |draft| Some(Command::ConfigurePassword(Some(draft.name?))),
    ),
    row(
        Access::Config,
        &[CONFIGURE, USER, Part::Word("delete", "Take an account away"), NAME],
        "Take an account away",
        |draft| Some(Command::Configure(Change::UserDelete { name: draft.name? })),
    ),
    row(
        Access::Config,
        &[
            CONFIGURE,
            SSH,
            TRUSTED,
            Part::Word("add", "Trust a server's key"),
            SERVER,
            argument("ALGORITHM", "As ssh-keyscan prints it: ssh-ed25519", |draft, text| {
                keep(&mut draft.word, values::word(text))
            }),
            argument("KEY", "The public key, in base64", |draft, text| {
                keep(&mut draft.name, values::base64(text))
            }),
        ],
        "Trust a server's host key, so that a restore does not ask",
        |draft| {
            let server = draft.endpoint?;
            Some(Command::Configure(Change::TrustedHostAdd {
                host: server.host,
                port: server.port,
                algorithm: draft.word?,
                key: draft.name?,
            }))
        },
    ),
    row(
        Access::Config,
        &[CONFIGURE, SSH, TRUSTED, Part::Word("delete", "Forget a server's keys"), SERVER],
        "Forget a server's host keys, also those that an admin has accepted",
        |draft| {
            let server = draft.endpoint?;
            Some(Command::Configure(Change::TrustedHostDelete { host: server.host, port: server.port }))
        },
    ),
    row(
        Access::Config,
        &[
            CONFIGURE,
            SSH,
            Part::Word("access-list", "From where SSH is open"),
            argument("NETWORKS", "192.0.2.0/24, separated by commas; or any", |draft, text| {
                keep(&mut draft.names, values::networks(text))
            }),
        ],
        "Say from which networks SSH is open",
        |draft| Some(Command::Configure(Change::SshAccessList(draft.names?))),
    ),
    row(
        Access::Config,
        &[
            CONFIGURE,
            Part::Word("high-availability", "This appliance's part in its HA group"),
            Part::Word("resume", "Have the HA engine run and synchronise again"),
        ],
        "Have the HA engine run and synchronise again",
        |_| Some(Command::HighAvailabilityResume),
    ),
    row(
        Access::Config,
        &[
            CONFIGURE,
            Part::Word("tasks", "What is left to do by hand after a restore"),
            Part::Word("acknowledge", "Take note of the tasks, so that no login shows them any more"),
        ],
        "Take note of the tasks after a restore; no login shows them any more",
        |_| Some(Command::TasksAcknowledge),
    ),
    row(
        Access::Config,
        &[CONFIGURE, EXPERT, Part::Word("allow", "Let admins use `expert`")],
        "Let admins use `expert`, where the product has it",
        |_| Some(Command::ExpertAllow(true)),
    ),
    row(
        Access::Config,
        &[CONFIGURE, EXPERT, Part::Word("forbid", "Let nobody use `expert`")],
        "Let nobody use `expert`",
        |_| Some(Command::ExpertAllow(false)),
    ),
    row(
        Access::Config,
        &[
            CONFIGURATION,
            Part::Word("activate", "Make it the configuration of this appliance"),
            CONFIGURATION_NAME,
        ],
        "Make a stored configuration the one of this appliance, with a restart",
        |draft| Some(Command::ConfigurationActivate(draft.name?)),
    ),
    row(
        Access::Config,
        &[CONFIGURATION, Part::Word("delete", "Take it out of the store"), CONFIGURATION_NAME],
        "Take a configuration out of the store",
        |draft| Some(Command::ConfigurationDelete(draft.name?)),
    ),
    row(
        Access::Basic,
        &[CONFIGURATION, Part::Word("diff", "Compare it with the present one"), CONFIGURATION_NAME],
        "What would change if a stored configuration became active",
        |draft| Some(Command::Show(View::ConfigurationDiff(draft.name?), false)),
    ),
    row(
        Access::Config,
        &[
            CONFIGURATION,
            Part::Word("rename", "Give it a name"),
            CONFIGURATION_NAME,
            argument("NEW", "Letters, digits, dots, hyphens; begins with a letter", |draft, text| {
                keep(&mut draft.to, values::configuration_name(text))
            }),
        ],
        "Give a stored configuration a name",
        |draft| Some(Command::ConfigurationRename(draft.name?, RenameRequest { to: draft.to? })),
    ),
];
