//! Members reach the appliance through its own firewall, before a restore and after it, or it does not begin.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use reinstate_agent::firewall::{Connection, Trial};
use reinstate_api::{BACKUP_FOLDER, Code, Failure, Outcome, Phase, Role};
use reinstate_tests::appliance::{self, Appliance};
use reinstate_tests::compare::{NO_CONFIGURATION, Tree};
use reinstate_tests::group::{FAILOVER, Group, MANAGEMENT, Member, Roster, quick};
use tempfile::TempDir;

use crate::program;

const RULESET: &str = "etc/nftables.conf";

/// How the other member comes in: by its two addresses of the usual group.
const MANAGED: &str = "management0,192.0.2.11,192.0.2.10";
const JOINED: &str = "failover0,198.51.100.2,198.51.100.1";
const JOINED6: &str = "failover0,2001:db8:f::2,2001:db8:f::1";

const CLOSED: &str = "";
const OPEN: &str = "iifname { management0, failover0 } tcp dport 8306 accept";

/// A firewall that drops all but neighbours, what goes on already, and this.
fn rules(accept: &str) -> String {
    format!(
        "#!/usr/sbin/nft -f\nflush ruleset\ntable inet appliance {{\n\
         \tchain input {{\n\
         \t\ttype filter hook input priority filter; policy drop;\n\
         \t\tct state established,related accept\n\
         \t\ticmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept\n\
         \t\t{accept}\n\
         \t}}\n}}\n"
    )
}

/// With the reference appliance's firewall domain, and nothing but this ruleset in it.
fn guarded(appliance: Appliance, ruleset: &str) -> Appliance {
    let domain = appliance::reference_profile().join("domains.d/firewall.toml");
    appliance
        .domain_override("firewall", &fs::read_to_string(domain).unwrap())
        .file("etc/reinstate/profile.d/60-ruleset.toml", "[ha]\nruleset = \"/etc/nftables.conf\"\n", 0o644)
        .without("etc/nftables.d")
        .file(RULESET, ruleset, 0o755)
}

/// What the agent says of these connections to an appliance, which are made in namespaces; `before` are the
/// words before the agent's own.
fn run(appliance: &Appliance, before: &[&str], connections: &[&str]) -> Output {
    let place = TempDir::new().unwrap();
    appliance.build(place.path()).unwrap();
    let words = before.iter().copied().chain([program().to_str().unwrap(), "reinstated", "--root"]);
    let words: Vec<_> = words.collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(place.path()).args(["admits", "live"]).args(connections);
    command.output().unwrap()
}

fn refused(said: &Output) -> Failure {
    assert!(!said.status.success(), "{said:?}");
    serde_json::from_slice(&said.stdout).unwrap()
}

fn try_out(appliance: &Appliance, connections: &[&str]) -> Trial {
    let said = run(appliance, &[], connections);
    assert!(said.status.success(), "{said:?}");
    serde_json::from_slice(&said.stdout).unwrap()
}

fn closed(ruleset: &str, connections: &[&str]) -> Vec<String> {
    match try_out(&guarded(quick(Appliance::donor("fw-a")), ruleset), connections) {
        Trial::Closed(closed) => closed.iter().map(Connection::to_string).collect(),
        not_loaded => panic!("{not_loaded:?}"),
    }
}

const ALL: [&str; 3] = [JOINED, JOINED6, MANAGED];

#[test]
fn a_firewall_with_a_rule_for_it_lets_members_in_by_both_families() {
    assert_eq!(closed(&rules(OPEN), &ALL), [""; 0]);
}

#[test]
fn a_firewall_without_a_rule_for_it_lets_nobody_in() {
    assert_eq!(closed(&rules(CLOSED), &ALL), ALL);
}

#[test]
fn a_firewall_that_rejects_lets_nobody_in() {
    assert_eq!(closed(&rules("reject with tcp reset"), &ALL), ALL);
}

#[test]
fn another_port_that_is_open_helps_nobody() {
    assert_eq!(closed(&rules("tcp dport 22 accept"), &[JOINED, MANAGED]), [JOINED, MANAGED]);
}

#[test]
fn a_rule_for_one_member_lets_no_other_in() {
    let third = "failover0,198.51.100.3,198.51.100.1";
    let rule = "ip saddr 198.51.100.3 tcp dport 8306 accept";
    assert_eq!(closed(&rules(rule), &[JOINED, third]), [JOINED]);
}

#[test]
fn a_rule_for_one_interface_lets_nobody_in_on_the_other() {
    assert_eq!(closed(&rules("iifname failover0 tcp dport 8306 accept"), &ALL), [MANAGED]);
    // By its index it needs the interface when it is loaded, one of no member's too.
    assert_eq!(closed(&rules("iif data1 accept\n iif management0 accept"), &ALL), [JOINED, JOINED6]);
}

#[test]
fn a_rule_that_lets_only_the_first_packet_in_lets_nobody_in() {
    let ruleset =
        rules("tcp flags syn tcp dport 8306 accept").replace("\t\tct state established,related accept\n", "");
    assert_eq!(closed(&ruleset, &[JOINED]), [JOINED]);
}

#[test]
fn a_firewall_that_keeps_its_own_answers_back_lets_nobody_in() {
    let output = "table inet out {\n chain o {\n type filter hook output priority 0; policy drop;\n }\n}\n";
    assert_eq!(closed(&(rules(OPEN) + output), &[JOINED, MANAGED]), [JOINED, MANAGED]);
}

#[test]
fn rules_in_included_files_count() {
    let ruleset = rules(CLOSED) + "include \"/etc/nftables.d/*.nft\"\n";
    let included = "add rule inet appliance input tcp dport 8306 accept\n";
    let appliance = guarded(quick(Appliance::donor("fw-a")), &ruleset);
    assert_eq!(try_out(&appliance, &[JOINED]), Trial::Closed(vec![JOINED.parse().unwrap()]));
    let appliance = appliance.file("etc/nftables.d/10-peers.nft", included, 0o644);
    assert_eq!(try_out(&appliance, &[JOINED]), Trial::Closed(vec![]));
}

#[test]
fn the_image_s_own_firewall_lets_members_in() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image/tree");
    let policy = "etc/nftables.d/10-policy.conf";
    let read = |path: &str| fs::read_to_string(tree.join(path)).unwrap();
    let appliance =
        guarded(quick(Appliance::donor("fw-a")), &read(RULESET)).file(policy, read(policy), 0o644);
    assert_eq!(try_out(&appliance, &ALL), Trial::Closed(vec![]));
}

#[test]
fn without_a_ruleset_everybody_comes_in() {
    let appliance = guarded(quick(Appliance::donor("fw-a")), "").without(RULESET);
    assert_eq!(try_out(&appliance, &ALL), Trial::Closed(vec![]));
}

#[test]
fn a_ruleset_that_nft_does_not_take_is_told_with_nft_s_words() {
    let appliance = guarded(quick(Appliance::donor("fw-a")), "table inet broken {\n\tchain\n}\n");
    match try_out(&appliance, &[JOINED]) {
        Trial::NotLoaded(why) => {
            assert!(why.starts_with("nft does not load /etc/nftables.conf: "), "{why}");
            assert!(why.contains("syntax error"), "{why}");
        }
        tried => panic!("{tried:?}"),
    }
}

#[test]
fn where_the_kernel_gives_no_namespaces_nobody_is_said_to_come_in() {
    let none =
        ["unshare", "-U", "-r", "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"", "-"];
    let appliance = guarded(quick(Appliance::donor("fw-a")), &rules(OPEN));
    let failure = refused(&run(&appliance, &none, &[JOINED]));
    assert_eq!(failure.code, Code::ValidationFailed);
    assert!(failure.message.contains("unshare"), "{failure:?}");
    assert!(failure.hint.contains("user namespaces"), "{failure:?}");
}

#[test]
fn a_connection_on_an_interface_of_no_member_is_not_tried() {
    let appliance = guarded(quick(Appliance::donor("fw-a")), &rules(OPEN));
    let failure = refused(&run(&appliance, &[], &["data0,192.0.2.11,192.0.2.10"]));
    assert_eq!(failure.code, Code::BadRequest);
    assert!(failure.message.contains("data0") && failure.message.contains("failover0"), "{failure:?}");
}

#[test]
fn a_ruleset_that_no_domain_owns_is_an_error_of_the_profile() {
    let appliance = guarded(quick(Appliance::donor("fw-a")), &rules(OPEN));
    let appliance = appliance.without("etc/reinstate/domains.d/firewall.toml");
    let failure = refused(&run(&appliance, &[], &[JOINED]));
    assert_eq!(failure.code, Code::ProfileInvalid);
    assert!(failure.message.contains("ha.ruleset is '/etc/nftables.conf'"), "{failure:?}");
}

/// Two members, both with this firewall and a backup that holds it.
fn pair(ruleset: &str) -> Group {
    let roster = Roster::new("edge", &[Role::Primary, Role::Secondary]);
    Group::start_with(program(), roster, |appliance| guarded(appliance, ruleset))
}

/// What a restore has come to.
struct Came {
    failures: Vec<Failure>,
    notes: Vec<String>,
    /// The last phase before the end.
    phase: Phase,
    asked: bool,
}

fn restore(member: &Member, file: &str) -> Came {
    member.restore_file(file, &[]).unwrap();
    let (mut notes, mut phase, mut asked) = (Vec::new(), Phase::Receiving, false);
    member.drive(&mut |job| {
        notes = job.notes.clone();
        if job.outcome.is_none() {
            phase = job.phase;
        }
        asked |= job.question.is_some();
    });
    let failures = match member.idle().outcome {
        Outcome::Failed { failures } => failures,
        Outcome::Succeeded => Vec::new(),
        other => panic!("{other:?}"),
    };
    Came { failures, notes, phase, asked }
}

fn tree(member: &Member) -> Tree {
    Tree::read(member.machine.root(), &NO_CONFIGURATION).unwrap()
}

fn put(member: &Member, ruleset: &str) {
    fs::write(member.machine.root().join(RULESET), ruleset).unwrap();
}

#[test]
fn a_backup_whose_firewall_keeps_the_other_member_out_is_refused_and_nothing_changes() {
    let group = pair(&rules(CLOSED));
    let member = &group.members[0];
    put(member, &rules(OPEN));
    let before = tree(member);
    let Came { failures, phase, .. } = restore(member, &member.file);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].code, Code::PeerPortClosed);
    assert_eq!(
        failures[0].message,
        "the firewall of the backup does not let fw-b (192.0.2.11 on management0, 198.51.100.2 on failover0) \
         in, TCP port 8306"
    );
    assert_eq!(phase, Phase::Validating);
    assert!(!failures[0].hint.is_empty());
    assert_eq!(tree(member).differences(&before), [""; 0]);
    assert_eq!(member.machine.reboots(), 0);
    group.settled();
}

#[test]
fn a_member_whose_present_firewall_keeps_the_other_out_is_not_restored_and_nobody_is_asked() {
    let group = pair(&rules(OPEN));
    let member = &group.members[0];
    put(member, &rules(CLOSED));
    let before = tree(member);
    let Came { failures, asked, .. } = restore(member, &member.file);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].code, Code::PeerPortClosed);
    let message = &failures[0].message;
    assert!(
        message.starts_with("the firewall of the present configuration does not let fw-b ("),
        "{message}"
    );
    assert!(!asked);
    assert_eq!(tree(member).differences(&before), [""; 0]);
    group.settled();
}

#[test]
fn one_open_link_is_enough_and_the_closed_one_is_noted_before_and_after() {
    let group = pair(&rules("iifname failover0 tcp dport 8306 accept"));
    let member = &group.members[0];
    put(member, &rules("iifname management0 tcp dport 8306 accept"));
    let Came { failures, notes, .. } = restore(member, &member.file);
    assert!(failures.is_empty(), "{failures:?}");
    let noted = |what: &str| notes.iter().any(|note| note.contains(what));
    assert!(
        noted("the firewall of the present configuration does not let fw-b (198.51.100.2 on failover0) in"),
        "{notes:?}"
    );
    assert!(
        noted("the firewall of the backup does not let fw-b (192.0.2.11 on management0) in"),
        "{notes:?}"
    );
    assert_eq!(member.machine.reboots(), 1);
    group.settled();
}

#[test]
fn a_backup_s_ruleset_that_nft_does_not_take_is_refused_once_by_its_domain_s_checker() {
    let group = pair("table inet broken {\n\tchain\n}\n");
    let member = &group.members[0];
    put(member, &rules(OPEN));
    let Came { failures, .. } = restore(member, &member.file);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].code, Code::ValidationFailed);
    assert!(failures[0].message.starts_with("domain 'firewall'"), "{failures:?}");
}

#[test]
fn a_present_ruleset_that_nft_does_not_take_is_noted_and_a_sound_backup_restored() {
    let group = pair(&rules(OPEN));
    let member = &group.members[0];
    put(member, "table inet broken {\n\tchain\n}\n");
    let Came { failures, notes, .. } = restore(member, &member.file);
    assert!(failures.is_empty(), "{failures:?}");
    let told =
        |note: &String| note.starts_with("the firewall of the present configuration cannot be tried: nft");
    assert!(notes.iter().any(told), "{notes:?}");
}

#[test]
fn a_replacement_whose_present_firewall_keeps_members_out_is_told_and_restored() {
    let mut group = pair(&rules(OPEN));
    let old = group.members.remove(0);
    let backup = fs::read(old.machine.root().join(BACKUP_FOLDER).join(&old.file)).unwrap();
    drop(old.machine);
    let appliance = quick(Appliance::replacement())
        .interface("0000:03:00.0", "vmxnet3", MANAGEMENT, "00:50:56:00:00:01")
        .interface("0000:0b:00.0", "vmxnet3", FAILOVER, "00:50:56:00:00:02");
    let new = group.boot(program(), 0, &guarded(appliance, &rules(CLOSED)));
    fs::write(new.machine.root().join(BACKUP_FOLDER).join(&old.file), backup).unwrap();
    let Came { failures, notes, .. } = restore(&new, &old.file);
    assert!(failures.is_empty(), "{failures:?}");
    let told = "the firewall of the present configuration does not let fw-b (192.0.2.11 on management0, \
                198.51.100.2 on failover0) in, TCP port 8306";
    assert!(notes.iter().any(|note| note == told), "{notes:?}");
    assert_eq!(fs::read_to_string(new.machine.root().join(RULESET)).unwrap(), rules(OPEN));
}
