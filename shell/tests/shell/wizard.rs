//! The first login, without a terminal.

use crate::agent::*;
use reinstate_api::*;
use serde_json::{Value, json};

/// An agent that has still to be told everything, and takes what it is told.
fn agent(differing: &[(&str, Reply)]) -> Agent {
    let done = JobView { kind: JobKind::Configure, ..ended(Outcome::Succeeded) };
    with(differing, vec![say(done)])
}

fn with(differing: &[(&str, Reply)], steps: Vec<Step>) -> Agent {
    let factory =
        Addressing { method: Method::Manual, addresses: vec!["192.168.45.45/24".into()], gateway: None };
    let management = InterfaceView { name: "management0".into(), ipv4: factory, ..InterfaceView::default() };
    let network = Network { hostname: "appliance".into(), management, ..Network::default() };
    let setup = Setup {
        needed: true,
        licence: vec!["These are the terms.".into()],
        password_rules: vec!["A password has at least 8 characters.".into()],
    };
    let value = |value: Value| Reply::Json(200, value);
    Agent::start(
        &[
            ("GET /v1/session?from=console", session(&Session { setup: true, ..usual() })),
            ("GET /v1/setup", value(json!(setup))),
            ("GET /v1/network", value(json!(network))),
            ("GET /v1/status", value(json!(status(None)))),
            ("POST /v1/password/check", value(json!({}))),
            ("POST /v1/configure", value(json!({ "id": id() }))),
        ]
        .iter()
        .chain(differing)
        .cloned()
        .collect::<Vec<_>>(),
        steps,
    )
}

/// What was configured, one change each.
fn changes(agent: &Agent) -> Vec<Value> {
    let asked = agent.changes();
    let body = &asked.iter().find(|asked| asked.route == "POST /v1/configure").expect("nothing was").body;
    assert_eq!(body["setup"], json!(true));
    body["changes"].as_array().unwrap().clone()
}

#[test]
fn whoever_only_agrees_keeps_the_factory_s_settings_and_has_a_new_password() {
    let agent = agent(&[]);
    let (status, text) = agent.run(&[], b"\nNew pass 1\nNew pass 1\n\n\n\n\n\n\n\n\n\nn\nexit\n");
    assert_eq!(status, 0, "{text}");
    assert_eq!(
        changes(&agent),
        [
            json!({"password": {"user": null, "password": "New pass 1"}}),
            json!({"ipv4": {"manual": {"address": "192.168.45.45", "prefix": 24, "gateway": null}}}),
            json!({"ipv6": "disable"}),
            json!({"hostname": "appliance"}),
            json!({"dns-servers": []}),
            json!({"search-domains": []}),
        ]
    );
    assert!(!text.contains("New pass"), "{text}");
    let order = [
        "These are the terms.",
        "Please enter 'YES' or press <ENTER> to AGREE to the licence terms: ",
        "do not give it that one's address now",
        "A password has at least 8 characters.",
        "Enter new password: ",
        "Confirm new password: ",
        "Do you want to configure IPv4? (y/n) [y]: ",
        "Configure IPv4 via DHCP or manually? (dhcp/manual) [manual]: ",
        "Enter an IPv4 address for the management interface [192.168.45.45]: ",
        "Enter an IPv4 netmask for the management interface [255.255.255.0]: ",
        "Enter the IPv4 default gateway for the management interface, or 'none' [none]: ",
        "Do you want to configure IPv6? (y/n) [n]: ",
        "Enter a fully qualified hostname for this system [appliance]: ",
        "Enter a comma-separated list of DNS servers or 'none' [none]: ",
        "Enter a comma-separated list of search domains or 'none' [none]: ",
        "This appliance is set up.",
        "Restore a backup onto this appliance now? (y/n): ",
        "\n> ",
    ];
    let mut rest = text.as_str();
    for part in order {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} does not come in {rest:?}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn a_wrong_answer_is_told_at_once_and_asked_again() {
    let agent = agent(&[]);
    let answers = "maybe\nYES\nNew pass 1\nother\nNew pass 1\nNew pass 1\n\
        perhaps\ny\nmanual\n192.0.2.300\n192.0.2.10\n255.0.255.0\n255.255.255.128\nnowhere\n192.0.2.1\n\
        y\nmanual\n192.0.2.1\n2001:db8::10\n200\n64\nnone\n-fw\nfw-b.example.com\n192.0.2.53,x\n192.0.2.53,2001:db8::53\n\
        a b\nexample.com\nn\nexit\n";
    let (status, text) = agent.run(&[], answers.as_bytes());
    assert_eq!(status, 0, "{text}");
    for told in [
        "The two passwords differ.",
        "'perhaps' is not y or n.",
        "'192.0.2.300' is not an address like 192.0.2.10.",
        "'255.0.255.0' is not a netmask like 255.255.255.0.",
        "'nowhere' is not an address like 192.0.2.1.",
        "'200' is not a number from 1 to 128.",
        "'-fw' is not a name of letters, digits and hyphens.",
        "'192.0.2.53,x' is not addresses, separated by commas.",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert_eq!(
        changes(&agent)[1..],
        [
            json!({"ipv4": {"manual": {"address": "192.0.2.10", "prefix": 25, "gateway": "192.0.2.1"}}}),
            json!({"ipv6": {"manual": {"address": "2001:db8::10", "prefix": 64, "gateway": null}}}),
            json!({"hostname": "fw-b.example.com"}),
            json!({"dns-servers": ["192.0.2.53", "2001:db8::53"]}),
            json!({"search-domains": ["example.com"]}),
        ]
    );
}

#[test]
fn whoever_does_not_agree_or_goes_away_has_configured_nothing() {
    for answers in ["no\n", "", "\nNew pass 1\n", "\nNew pass 1\nNew pass 1\n\n\n\n"] {
        let agent = agent(&[]);
        let (status, text) = agent.run(&[], answers.as_bytes());
        assert_eq!(status, 1, "{text}");
        assert!(text.ends_with("This appliance is not set up. The next login begins anew.\n"), "{text}");
        assert!(agent.changes().iter().all(|asked| asked.route == "POST /v1/password/check"), "{answers:?}");
    }
}

#[test]
fn a_password_that_the_agent_refuses_is_asked_for_again_before_anything_else() {
    let why =
        failure(Code::PasswordRefused, "the password has 5 characters, of at least 8", "take a longer one");
    let agent = agent(&[("POST /v1/password/check", refusal(400, &[why]))]);
    let (status, text) = agent.run(&[], b"\nshort\nshort2\n");
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("Error: the password has 5 characters, of at least 8 [password-refused]"),
        "{text}"
    );
    assert_eq!(text.matches("Enter new password: ").count(), 3, "{text}");
    assert!(!text.contains("Confirm new password") && !text.contains("IPv4"), "{text}");
}

#[test]
fn what_the_agent_refuses_in_the_end_is_asked_again_with_what_was_answered() {
    let why = failure(Code::BadRequest, "this name is taken", "take another one");
    let agent = agent(&[("POST /v1/configure", refusal(400, &[why]))]);
    let (_, text) =
        agent.run(&[], b"\nNew pass 1\nNew pass 1\n\n\n192.0.2.10\n\n192.0.2.1\n\nfw-b\n\n\n\n\n\n\n\n\n\n");
    assert!(text.contains("Error: this name is taken [bad-request]"), "{text}");
    assert_eq!(text.matches("Do you want to configure IPv4?").count(), 2, "{text}");
    assert_eq!(text.matches("Enter new password: ").count(), 1, "{text}");
    let again = text.rsplit("Do you want to configure IPv4?").next().unwrap();
    for answered in ["interface [192.0.2.10]: ", "or 'none' [192.0.2.1]: ", "system [fw-b]: "] {
        assert!(again.contains(answered), "{answered}: {text}");
    }
}

#[test]
fn a_gateway_that_cannot_be_reached_is_told_at_once() {
    let agent = agent(&[]);
    let answers =
        "\nNew pass 1\nNew pass 1\n\n\n192.0.2.10\n\n10.0.0.1\n\n\n\n\n192.0.2.1\n\n\n\n\nn\nexit\n";
    let (status, text) = agent.run(&[], answers.as_bytes());
    assert_eq!(status, 0, "{text}");
    let told = "Error: the gateway 10.0.0.1 is no other device in the network of 192.0.2.10/24 [bad-request]";
    let (before, after) = text.split_once(told).unwrap_or_else(|| panic!("{text}"));
    assert!(!before.contains("IPv6") && after.contains("interface [192.0.2.10]: "), "{text}");
    assert_eq!(
        changes(&agent)[1],
        json!({"ipv4": {"manual": {"address": "192.0.2.10", "prefix": 24, "gateway": "192.0.2.1"}}})
    );
}

#[test]
fn what_no_other_answer_can_mend_ends_the_questions() {
    let why = failure(Code::Forbidden, "'jane' may look", "ask a user with config access");
    let refused = ("POST /v1/configure", refusal(403, &[why]));
    let answers = b"\nNew pass 1\nNew pass 1\n\n\n\n\n\n\n\n\n\nshow managers\n";
    let (status, text) = agent(&[refused]).run(&[], answers);
    assert_eq!((status, text.matches("IPv4? (y/n)").count()), (1, 1), "{text}");
    assert!(text.ends_with("This appliance is not set up. The next login begins anew.\n"), "{text}");
}

#[test]
fn whoever_was_slower_than_another_login_comes_to_the_prompt() {
    let taken = failure(Code::Forbidden, "the questions of the first login are answered already", "");
    let answered = json!(Setup { needed: false, licence: vec![], password_rules: vec![] });
    let agent = agent(&[
        ("POST /v1/configure", refusal(403, &[taken])),
        ("GET /v1/setup", Reply::Json(200, answered)),
        ("GET /v1/managers", Reply::Json(200, json!([]))),
    ]);
    let (status, text) = agent.run(&[], b"\nNew pass 1\nNew pass 1\n\n\n\n\n\n\n\n\n\nshow managers\nexit\n");
    assert_eq!(status, 0, "{text}");
    let (_, after) = text.split_once("answered already [forbidden]\n").unwrap_or_else(|| panic!("{text}"));
    assert!(after.starts_with("> ") && after.contains("No managers configured."), "{text}");
    assert!(!text.contains("not set up"), "{text}");
}

#[test]
fn of_a_change_whose_end_was_not_heard_nothing_is_said_that_may_be_wrong() {
    let agent = with(&[], vec![]);
    let (_, text) = agent.run(&[], b"\nNew pass 1\nNew pass 1\n\n\n\n\n\n\n\n\n\n");
    assert!(text.contains("Error: the agent has ended [agent-unreachable]\n"), "{text}");
    assert!(text.ends_with("Where that succeeds, the next login is with the new password.\n"), "{text}");
}

#[test]
fn a_change_that_fails_leaves_the_appliance_to_the_next_login() {
    let why = failure(Code::Io, "the disk is full", "make room");
    let failed = JobView { kind: JobKind::Configure, ..ended(Outcome::Failed { failures: vec![why] }) };
    let agent = with(&[], vec![say(failed)]);
    let (status, text) = agent.run(&[], b"\nNew pass 1\nNew pass 1\n\n\n\n\n\n\n\n\n\n");
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("Error: the disk is full [io]"), "{text}");
    assert!(text.ends_with("This appliance is not set up. The next login begins anew.\n"), "{text}");
}

#[test]
fn whoever_may_only_look_is_not_asked_what_an_admin_answers() {
    let looks = session(&Session { setup: true, access: Access::Basic, ..usual() });
    let (status, text) = agent(&[("GET /v1/session?from=console", looks)]).run(&[], b"\nNew pass 1\n");
    assert_eq!(status, 1, "{text}");
    assert_eq!(
        text,
        "Error: this appliance is not set up yet [setup-needed]\n       \
         an admin has to log in first, who is asked what it has to know\n"
    );
}

#[test]
fn a_restore_is_offered_at_the_end() {
    let agent = agent(&[]);
    let answers =
        "\nNew pass 1\nNew pass 1\n\n\n\n\n\n\n\n\n\ny\n192.0.2.9:2222\nbackup\n/backups/fw-a.tar\nexit\n";
    let (_, text) = agent.run(&[], answers.as_bytes());
    let asked = agent.changes();
    let restore =
        asked.iter().find(|asked| asked.route == "POST /v1/restore").unwrap_or_else(|| panic!("{text}"));
    let location = json!({"host": "192.0.2.9", "port": 2222, "user": "backup", "path": "/backups/fw-a.tar"});
    assert_eq!(restore.body["source"]["location"], location);
}

#[test]
fn until_then_a_single_command_is_refused() {
    let agent = agent(&[]);
    let (status, text) = agent.run(&["-c", "show version"], b"");
    assert_eq!(status, 1, "{text}");
    assert!(text.starts_with("Error: this appliance is not set up yet [setup-needed]\n"), "{text}");
}
