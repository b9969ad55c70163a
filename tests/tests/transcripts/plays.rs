//! What is played: on which appliance, and what is typed.

use reinstate_api::Role;
use reinstate_tests::appliance::Appliance;
use reinstate_tests::group::Roster;

use super::place::Place;
use super::play::Step::{Do, DoOnTerminal, EndOfInput, Exec, Keys, Last, Line, Login, Say, Secret, Type};
use super::play::{ANY, PROMPT, Play, Step};

const SURE: &str = "Are you sure you want to continue (Y/N): ";
const KEY: &str = "Are you sure you want to continue connecting (yes/no/md5)? ";
const ASKED: &str = "password: ";
const NEW: &str = "Enter new password: ";
const AGAIN: &str = "Confirm new password: ";
const DOWN: &str = "Please enter 'YES' or 'NO': ";
const MORE: &str = "--More--";
const GOOD: &str = "Corr3ct-horse";

const FROM_FOLDER: &str = "restore remote-manager-backup backup fw-a_20260105080000.tar";
const FROM_SERVER: &str =
    "restore remote-manager-backup location {server} {user} {folder} backup fw-a_20260105080000.tar";
const ADMIN: Step = Login("admin", PROMPT);

/// In service, without a list of its own of who may log in.
fn in_service() -> Appliance {
    Appliance::donor("fw-a").without("etc/ssh/sshd_config.d/10-access.conf")
}

/// As it leaves the factory, before anybody has logged in.
fn fresh() -> Appliance {
    let uuid = Appliance::replacement().device().uuid.clone();
    let device = format!("UUID={uuid}\nROLE=standalone\n");
    Appliance::replacement().file("etc/appliance/device.conf", device, 0o644)
}

fn of(place: fn() -> Place, steps: Vec<Step>) -> Play {
    Play { place, steps, squeezed: false, wide: &[] }
}

pub fn play(name: &str) -> Play {
    match name {
        "show" => {
            Play { wide: &["ssh-ed25519 "], ..of(|| Place::of(&in_service()).with_own_backup(), show()) }
        }
        "show-disk" => Play {
            squeezed: true,
            ..of(|| Place::of(&in_service()), vec![ADMIN, Say("show disk"), Last("exit")])
        },
        "show-json" => Play {
            wide: &["    \"", "      \"", "  \""],
            ..of(|| Place::of(&in_service()).with_own_backup(), json())
        },
        "pair" => of(|| Place::group(Roster::new("edge", &[Role::Primary, Role::Secondary])), member()),
        "cluster" => {
            of(|| Place::group(Roster::new("edge", &[Role::Control, Role::Data, Role::Data])), member())
        }
        "configure-network" => of(|| Place::of(&in_service()), configure_network()),
        "configure" => of(|| Place::of(&in_service()), configure()),
        "expert" => of(
            || {
                let profile = "[expert]\ncommand = [\"/usr/bin/echo\", \"the operating system's shell\"]\n\
                               text = [\"What is done here is in no configuration, and on record.\"]\n";
                Place::of(&in_service().profile_override(profile))
            },
            expert(),
        ),
        "configuration" => of(|| Place::of(&in_service()), configuration()),
        "backup" => of(|| Place::of(&in_service()).with_bundle(), backup()),
        "restore-file" => of(|| Place::of(&Appliance::replacement()).with_backup(), restore_file()),
        "restore-location" => of(|| Place::of(&Appliance::replacement()).with_server(), restore_location()),
        "restore-confirm" => of(|| Place::of(&Appliance::replacement()).with_backup(), restore_confirm()),
        "session" => of(|| Place::of(&in_service()), session()),
        "mistakes" => {
            // It is shown as it was typed.
            Play { wide: &["  a line that"], ..of(|| Place::of(&in_service()), mistakes()) }
        }
        "filters" => of(|| Place::of(&in_service()), filters()),
        "keys" => of(|| Place::of(&in_service()).with_backup(), keys()),
        "pager" => of(|| Place::of(&in_service()), pager()),
        "operator" => of(|| Place::of(&in_service()).with_backup(), operator()),
        "exec" => of(|| Place::of(&Appliance::replacement()).with_backup(), exec()),
        "wizard" => of(|| Place::of(&fresh()), wizard()),
        "wizard-dhcp" => of(|| Place::of(&fresh()), wizard_dhcp()),
        "wizard-restore" => of(|| Place::of(&fresh()).with_backup().with_server(), wizard_restore()),
        "wizard-left" => of(|| Place::of(&fresh()), wizard_left()),
        other => panic!("there is no play {other}"),
    }
}

fn show() -> Vec<Step> {
    vec![
        ADMIN,
        Say("show version"),
        Say("show model"),
        Say("show network"),
        Say("show interface"),
        Say("show interface data0"),
        Say("show interface data9"),
        Say("show managers"),
        Say("show high-availability config"),
        Say("show cluster info"),
        Say("show users"),
        Say("show ssh"),
        Say("show public-key"),
        Say("show time"),
        Say("show backups"),
        Say("show configurations"),
        Say("show restore"),
        Say("show restore detail"),
        Say("show restore history"),
        Say("show restore lock"),
        Say("clear restore-lock"),
        Say("show log restore 2"),
        Say("show log restore | include nothing-has-this"),
        Say("show tech-support"),
        Last("exit"),
    ]
}

fn json() -> Vec<Step> {
    vec![
        ADMIN,
        Say("show version --json"),
        Say("show model --json"),
        Say("show network --json"),
        Say("show interface data0 --json"),
        Say("show managers --json"),
        Say("show high-availability config --json"),
        Say("show cluster info --json"),
        Say("show users --json"),
        Say("show ssh --json"),
        Say("show public-key --json"),
        Say("show time --json"),
        Say("show disk --json"),
        Say("show backups --json"),
        Say("show configurations --json"),
        Say("show restore --json"),
        Say("show restore detail --json"),
        Say("show restore history --json"),
        Say("show restore lock --json"),
        Say("show log restore 1 --json"),
        Say("show tech-support --json"),
        Last("exit"),
    ]
}

fn member() -> Vec<Step> {
    vec![
        Login("root", PROMPT),
        Say("show high-availability config"),
        Say("show cluster info"),
        Say("show restore lock"),
        Say("configure high-availability resume"),
        Last("exit"),
    ]
}

fn configure_network() -> Vec<Step> {
    vec![
        ADMIN,
        Say("configure network hostname fw-b"),
        Say("configure network dns servers 192.0.2.53,2001:db8::53"),
        Say("configure network dns servers none"),
        Say("configure network dns searchdomains example.net,lab.example.net"),
        Say("configure network dns searchdomains none"),
        Say("configure network ipv4 manual 192.0.2.11 255.255.255.0 192.0.2.1"),
        Say("configure network hostname fw-c"),
        Say("show restore lock"),
        Say("configure confirm"),
        Say("configure confirm"),
        Say("configure network ipv4 dhcp"),
        Say("configure confirm"),
        Say("configure network ipv4 disable"),
        Say("configure confirm"),
        Say("configure network ipv6 manual 2001:db8::11 64 2001:db8::1"),
        Say("configure confirm"),
        Say("configure network ipv6 router"),
        Say("configure confirm"),
        Say("configure network ipv6 disable"),
        Say("configure network ipv4 manual 192.0.2.300 255.255.255.0"),
        Say("configure network ipv4 manual 192.0.2.11 255.0.255.0"),
        Say("show network"),
        Last("exit"),
        ADMIN,
        Say("show restore history | count configuration change"),
        Last("logout"),
    ]
}

fn configure() -> Vec<Step> {
    vec![
        ADMIN,
        Line("configure user add carol config", NEW),
        Secret("carol", PROMPT),
        Line("configure user add carol config", NEW),
        Secret(GOOD, AGAIN),
        Secret("Other-h0rse", PROMPT),
        Line("configure user add carol config", NEW),
        Secret(GOOD, AGAIN),
        Secret(GOOD, PROMPT),
        Say("configure user access carol basic"),
        Line("configure user password carol", NEW),
        Secret("Battery-stap1e", AGAIN),
        Secret("Battery-stap1e", PROMPT),
        Say("show users"),
        Say("configure user delete carol"),
        Say("configure user delete carol"),
        Say("configure user delete admin"),
        Line("configure password", NEW),
        Secret(GOOD, AGAIN),
        Secret(GOOD, PROMPT),
        Say("configure manager add 192.0.2.40 registration-key"),
        Line("configure manager delete", SURE),
        Line("n", "\n> "),
        Line("configure manager delete", SURE),
        Line("perhaps", SURE),
        Line("y", "\n> "),
        Say("show managers"),
        Say("configure manager add 192.0.2.40 registration-key site-7"),
        Say("show managers"),
        Say("history"),
        Say(
            "configure ssh trusted-host add 192.0.2.40 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEOm3tp0eRxMPBJzBEvtuSBiDd3FAkFYpd3NTbfrSJN3",
        ),
        Say("show ssh"),
        Say("configure ssh trusted-host delete 192.0.2.40"),
        Say("configure ssh trusted-host delete 192.0.2.40"),
        Say("configure ssh access-list 192.0.2.0/24,2001:db8::/64"),
        Say("configure confirm"),
        Say("configure ssh access-list any"),
        Say("configure ssh access-list 192.0.2.7/24"),
        Say("configure high-availability resume"),
        Say("configure tasks acknowledge"),
        Say("configure expert allow"),
        Last("exit"),
    ]
}

fn expert() -> Vec<Step> {
    vec![
        ADMIN,
        Say("expert"),
        Say("configure expert allow"),
        Say("configure expert forbid"),
        Say("configure expert allow"),
        Say("expert"),
        Last("logout"),
        ADMIN,
        Last("expert"),
    ]
}

fn configuration() -> Vec<Step> {
    vec![
        ADMIN,
        Say("show configurations"),
        Say("configure network hostname fw-b"),
        Say("configure network dns servers none"),
        Say("show configurations"),
        Say("configuration rename 1 before-dns"),
        Say("configuration diff before-dns"),
        Say("configuration diff 2"),
        Say("configuration rename 2 7days"),
        Line("configuration activate before-dns", SURE),
        Line("N", "\n> "),
        Say("configuration activate nothing-like-it"),
        Say("configuration delete 2"),
        Say("configuration delete before-dns"),
        Say("configuration delete 0"),
        Say("show configurations"),
        Last("exit"),
    ]
}

fn backup() -> Vec<Step> {
    vec![
        ADMIN,
        Say("show backups"),
        Say("backup import medium"),
        Do(|place| place.put_medium()),
        Say("backup import medium"),
        Say("backup import medium other.tar"),
        Say("backup extract edge.20260105080000.tar.gz fw-b"),
        Say("backup extract edge.20260105080000.tar.gz"),
        Say("backup extract missing.tar.gz"),
        Say("backup create"),
        Say("show backups"),
        Say("backup delete fw-b_20260105080000.tar"),
        Say("backup delete fw-b_20260105080000.tar"),
        Last("exit"),
    ]
}

fn restore_file() -> Vec<Step> {
    vec![
        ADMIN,
        Say("show restore"),
        Say("restore abort"),
        Say("restore confirm"),
        Say("restore rollback"),
        Line("restore factory", SURE),
        Line("N", "\n> "),
        Say("restore remote-manager-backup fw-x.tar"),
        Say("restore remote-manager-backup backup fw-a_20260105080000.tar check"),
        Say("show restore"),
        Line(FROM_FOLDER, SURE),
        Line("what", SURE),
        Line("N", "\n> "),
        Say("show restore"),
        Line(FROM_FOLDER, SURE),
        Keys("\u{3}", "Ctrl-C", PROMPT),
        Keys("show restore\r", "", SURE),
        Keys("\u{3}", "Ctrl-C", PROMPT),
        Keys("restore abort\r", "", PROMPT),
        DoOnTerminal(|place| drop(place.machine().wait_until_idle().unwrap())),
        Keys("restore remote-manager-backup fw-a_20260105080000.tar\r", "", SURE),
        Last("Y"),
        Do(|place| place.restarted(1, true)),
        ADMIN,
        Say("show restore"),
        Say("show restore detail"),
        Say("show restore history"),
        Say("configure tasks acknowledge"),
        Say("show restore"),
        Last("exit"),
        ADMIN,
        Last("exit"),
    ]
}

fn restore_location() -> Vec<Step> {
    vec![
        ADMIN,
        Line(FROM_SERVER, KEY),
        Line("y", KEY),
        Line("md5", KEY),
        Line("no", "\n> "),
        Say("show restore"),
        Line(FROM_SERVER, KEY),
        Line("yes", ASKED),
        Secret("wrong", PROMPT),
        Line(FROM_SERVER, ASKED),
        Secret("{password}", SURE),
        Line("n", "\n> "),
        Say("show ssh"),
        Say("show backups"),
        Line(
            "restore remote-manager-backup location {server} {user} {folder}/fw-a_20260105080000.tar check",
            ASKED,
        ),
        Secret("{password}", PROMPT),
        Line(
            "restore remote-manager-backup location {server} {user} {folder} missing.tar fingerprint {fingerprint}",
            ASKED,
        ),
        Secret("{password}", PROMPT),
        Line(FROM_SERVER, ASKED),
        Secret("{password}", SURE),
        Last("Y"),
        Do(|place| place.restarted(1, true)),
        ADMIN,
        Last("exit"),
    ]
}

fn restore_confirm() -> Vec<Step> {
    vec![
        ADMIN,
        Line("restore remote-manager-backup fw-a_20260105080000.tar confirm-within 60", SURE),
        Last("Y"),
        Do(|place| place.restarted(1, false)),
        Do(|place| place.unconfirmed()),
        ADMIN,
        Say("show restore detail | exclude etc/"),
        Say("configure network hostname other"),
        Say("restore confirm"),
        Do(|place| drop(place.machine().wait_until_idle().unwrap())),
        Say("show restore | begin Ended"),
        Line("restore rollback", SURE),
        Line("N", "\n> "),
        Line("restore rollback", SURE),
        Last("Y"),
        Do(|place| place.restarted(2, true)),
        ADMIN,
        Say("show restore history"),
        Say("show configurations"),
        Last("exit"),
    ]
}

fn session() -> Vec<Step> {
    vec![
        ADMIN,
        Line("help | count", "\n> "),
        Say("ping 127.0.0.1 2"),
        Line("reboot", DOWN),
        Line("perhaps", DOWN),
        Line("NO", "\n> "),
        Line("shutdown", DOWN),
        Line("no", "\n> "),
        Say("expert"),
        Say("configure expert allow"),
        Say(""),
        Say("history"),
        EndOfInput('D'),
        ADMIN,
        Line("reboot", DOWN),
        Last("YES"),
        Do(|place| place.restarted(1, true)),
        ADMIN,
        Line("shutdown", DOWN),
        Last("YES"),
    ]
}

fn mistakes() -> Vec<Step> {
    vec![
        ADMIN,
        Say("frobnicate"),
        Say("show versions"),
        Say("show version now"),
        Say("s"),
        Say("restore r"),
        Say("show"),
        Say("configure network ipv4 manual 192.0.2.11"),
        Say("configure network ipv4 manual 192.0.2.300 24"),
        Say("configure user add Carol config"),
        Say("restore remote-manager-backup ../etc/shadow"),
        Say("restore remote-manager-backup location nobody@192.0.2.1 u /b f"),
        Say("restore remote-manager-backup \"unclosed"),
        Say("show version | grep Model"),
        Say("show version | include ("),
        Say("show version |"),
        Say("show log restore 10001"),
        Say(
            "a line that is made of words that are no command at all, and of so many of them that they take more",
        ),
        Say("show ?"),
        Say("show restore ?"),
        Say("restore remote-manager-backup location 192.0.2.9 backup /b fw.tar ?"),
        Say("configure network ipv4 manual ?"),
        Say("sho ver"),
        Last("exit"),
    ]
}

fn filters() -> Vec<Step> {
    vec![
        ADMIN,
        Say("show version | include Model"),
        Say("show version | include \"Model|UUID\""),
        Say("show version | exclude -"),
        Say("show version | begin UUID"),
        Say("show version | count"),
        Say("help | include ^..show | exclude restore | count"),
        Say("show version | include nothing-like-this"),
        Say("show version | inc Serial"),
        Say("show interface data9 | count"),
        Last("exit"),
    ]
}

fn keys() -> Vec<Step> {
    vec![
        ADMIN,
        Keys("?", "?", "\r\n> "),
        Type("conf"),
        Keys("?", "?", "\r\n> conf"),
        Keys("\t", "Tab", "igur"),
        Keys("\t", "Tab", "\r\n> configur"),
        Keys("e", "e", "e"),
        Keys(" ", "Space", " "),
        Type("net"),
        Keys(" ", "Space", "work "),
        Keys("?", "?", "\r\n> configure network "),
        Keys("\u{15}", "Ctrl-U", "\u{8}"),
        Type("sho"),
        Keys(" ", "Space", "w "),
        Type("ver"),
        Keys("\t", "Tab", "sion "),
        Keys("?", "?", "\r\n> show version "),
        Keys("\r", "Enter", PROMPT),
        Type("restore rem"),
        Keys("\t", "Tab", "ote-manager-backup "),
        Keys("\t", "Tab", "\r\n> restore remote-manager-backup "),
        Type("fw-a"),
        Keys("\t", "Tab", "_20260105080000.tar "),
        Keys("?", "?", "\r\n> restore remote-manager-backup fw-a_20260105080000.tar "),
        Keys("\u{3}", "Ctrl-C", PROMPT),
        Type("nothing"),
        Keys("\t", "Tab", ""),
        Keys(" ", "Space", " "),
        Keys("?", "?", "\r\n> nothing "),
        Keys("\u{15}", "Ctrl-U", "\u{8}"),
        Type("shoe"),
        Keys("\u{7f}", "Backspace", "\u{8}"),
        Keys(
            "w modle\u{1b}[D\u{1b}[D\u{7f}d\u{5}\u{8}\u{8}el",
            "w modle, Left, Left, Backspace, d, End, Backspace, Backspace, el",
            "el",
        ),
        Keys("\r", "Enter", PROMPT),
        Keys("\u{1b}[A", "Up", "show model"),
        Keys("\u{1b}[A", "Up", ANY),
        Keys("\u{1b}[B", "Down", ANY),
        Keys("\u{1}", "Ctrl-A", "\u{8}"),
        Keys("\u{b}", "Ctrl-K", "\u{8}"),
        Keys("show managers", "show managers", "show managers"),
        Keys("\u{17}", "Ctrl-W", "\u{8}"),
        Keys("time | include zone", "time | include zone", "time | include zone"),
        Keys("\r", "Enter", PROMPT),
        Type("restore remote-manager-backup location 192.0.2.9 backup /a/folder/with/a/long/name fw.tar"),
        Keys("\u{1}", "Ctrl-A", ANY),
        Keys("\u{c}", "Ctrl-L", ANY),
        Keys("\u{3}", "Ctrl-C", PROMPT),
        EndOfInput('D'),
    ]
}

fn pager() -> Vec<Step> {
    vec![
        ADMIN,
        Keys("help\r", "", MORE),
        Keys("\r", "Enter", MORE),
        Keys(" ", "Space", MORE),
        Keys("/", "/", "/"),
        Keys("nothing-like-this\r", "", MORE),
        Keys("x", "x", ""),
        Keys("/", "/", "/"),
        Keys("configuration diff\r", "", PROMPT),
        Keys("help\r", "", MORE),
        Keys("/", "/", "/"),
        Keys("show (users|time)\r", "", MORE),
        Keys("q", "q", PROMPT),
        Keys("help\r", "", MORE),
        Keys("\u{3}", "Ctrl-C", PROMPT),
        Keys("help | include ^..show\r", "", PROMPT),
        Last("exit"),
    ]
}

fn operator() -> Vec<Step> {
    vec![
        Login("operator", PROMPT),
        Say("help"),
        Say("restore factory"),
        Say("configure network hostname x"),
        Say("backup create"),
        Say("show users"),
        Say("show tech-support"),
        Line("configure password", NEW),
        Secret(GOOD, AGAIN),
        Secret(GOOD, PROMPT),
        Say("restore ?"),
        Last("exit"),
    ]
}

fn exec() -> Vec<Step> {
    vec![
        Exec("show model"),
        Exec("show managers"),
        Exec("show version | count"),
        Exec("restore remote-manager-backup fw-a_20260105080000.tar check"),
        Exec("restore remote-manager-backup fw-a_20260105080000.tar"),
        Exec("restore abort"),
        Exec("configure network hostname fw-b"),
        Exec("show nothing"),
        Exec("show restore lock ?"),
        Exec("ping 127.0.0.1 1"),
        Exec("reboot"),
        Exec(""),
    ]
}

/// The way to the questions of the network.
fn begin() -> Vec<Step> {
    vec![
        Login("admin", "to AGREE to the licence terms: "),
        Line("", NEW),
        Secret(GOOD, AGAIN),
        Secret(GOOD, "(y/n) [y]: "),
    ]
}

fn wizard() -> Vec<Step> {
    let v6 = "Do you want to configure IPv6? (y/n) [n]: ";
    vec![
        Login("admin", "to AGREE to the licence terms: "),
        Line("maybe", "to AGREE to the licence terms: "),
        Line("yes", NEW),
        Secret(GOOD, AGAIN),
        Secret("Other-h0rse", NEW),
        Secret("short", NEW),
        Secret("no-digit-here", NEW),
        Secret(GOOD, AGAIN),
        Secret(GOOD, "Do you want to configure IPv4? (y/n) [y]: "),
        Line("perhaps", "[y]: "),
        Line("y", "[manual]: "),
        Line("static", "[manual]: "),
        Line("manual", "[192.168.45.45]: "),
        Line("192.168.45.300", "[192.168.45.45]: "),
        Line("192.168.45.46", "[255.255.255.0]: "),
        Line("255.0.255.0", "[255.255.255.0]: "),
        Line("", "[none]: "),
        Line("10.0.0.1", "(y/n) [y]: "),
        Line("", "[manual]: "),
        Line("", "[192.168.45.46]: "),
        Line("", "[255.255.255.0]: "),
        Line("", "[10.0.0.1]: "),
        Line("192.168.45.1", v6),
        Line("y", "[router]: "),
        Line("manual", "management interface []: "),
        Line("", "management interface []: "),
        Line("2001:db8::46", "[64]: "),
        Line("129", "[64]: "),
        Line("64", "[none]: "),
        Line("2001:db8::1", "[firewall]: "),
        Line("-fw", "[firewall]: "),
        Line("fw-a.example.net", "DNS servers or 'none' [none]: "),
        Line("192.0.2.53,dns", "DNS servers or 'none' [none]: "),
        Line("192.0.2.53,2001:db8::53", "search domains or 'none' [none]: "),
        Line("example.net,lab.example.net", "now? (y/n): "),
        Line("perhaps", "now? (y/n): "),
        Line("n", "\n> "),
        Say("show network"),
        Say("show restore history"),
        Last("exit"),
        ADMIN,
        Last("exit"),
    ]
}

fn wizard_dhcp() -> Vec<Step> {
    let mut steps = begin();
    steps.extend([
        Line("y", "[manual]: "),
        Line("dhcp", "(y/n) [n]: "),
        Line("y", "[router]: "),
        Line("", "[firewall]: "),
        Line("", "DNS servers or 'none' [none]: "),
        Line("", "search domains or 'none' [none]: "),
        Line("", "now? (y/n): "),
        Line("n", "\n> "),
        Say("show network"),
        Last("exit"),
    ]);
    steps
}

fn wizard_restore() -> Vec<Step> {
    let mut steps = begin();
    steps.extend([
        Line("", "[manual]: "),
        Line("", "[192.168.45.45]: "),
        Line("", "[255.255.255.0]: "),
        Line("", "[none]: "),
        Line("", "(y/n) [n]: "),
        Line("", "[firewall]: "),
        Line("", "DNS servers or 'none' [none]: "),
        Line("", "search domains or 'none' [none]: "),
        Line("", "now? (y/n): "),
        Line("y", "own folder): "),
        Line("192.0.2.9:ssh", "own folder): "),
        Line("{server}", "User on the server: "),
        Line("{user}", "Whole path of the backup file: "),
        Line("{folder}/", "Whole path of the backup file: "),
        Line("{folder}/fw-a_20260105080000.tar", KEY),
        Line("no", "\n> "),
        Last("exit"),
        ADMIN,
        Line(FROM_FOLDER, SURE),
        Last("Y"),
        Do(|place| place.restarted(1, true)),
        ADMIN,
        Last("exit"),
    ]);
    steps
}

fn wizard_left() -> Vec<Step> {
    let mut steps = begin();
    steps.push(EndOfInput('C'));
    steps.extend([Login("admin", "to AGREE to the licence terms: "), Last("no")]);
    steps.push(Exec("show version"));
    steps.extend(begin());
    steps.extend([
        Line("n", "(y/n) [n]: "),
        Line("n", "[firewall]: "),
        Line("", "DNS servers or 'none' [none]: "),
        Line("", "search domains or 'none' [none]: "),
        Line("", "now? (y/n): "),
        Line("y", "own folder): "),
        Line("", "Name of the backup file: "),
        Line("fw-x.tar", "\n> "),
        Last("exit"),
    ]);
    steps
}
