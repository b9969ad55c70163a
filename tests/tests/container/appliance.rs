//! What an admin and an operator ask of a real appliance: the journal, the kernel, the account database.

use reinstate_tests::container::apart;
use serde_json::Value;

use crate::replacement::Replacement;

/// `WHO METHOD PATH [BODY]`: one request of an account's.
const ASK: &str = r#"ask() {
    runuser -u "$1" -- perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0);
        connect(S, pack_sockaddr_un("/run/reinstate/agent.sock")) or die "$!\n"; my $b = $ARGV[2] // ""; my $l = length $b;
        syswrite S, "$ARGV[0] $ARGV[1] HTTP/1.0\r\nContent-Length: $l\r\n\r\n$b"; $_ = join "", <S>; s/.*?\r\n\r\n//s; print' \
        "$2" "$3" "$4"
}
"#;

impl Replacement<'_> {
    fn ask(&self, who: &str, method: &str, path: &str, body: &str) -> Value {
        let said = self.container.look(&format!("{ASK}ask {who} {method} '{path}' '{body}'"));
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{path}: {e}: {said}"))
    }
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn an_operator_sees_the_log_the_links_and_the_people_and_changes_nothing() {
    apart("appliance", |site| {
        let new = Replacement::boot(site);
        new.container.look("useradd --uid 1500 --groups reinstate-operator olga");
        let log = new.ask("olga", "GET", "/v1/log?lines=3", "");
        let lines = log["lines"].as_array().unwrap();
        assert!(
            lines.len() == 3 && lines.iter().all(|line| line.as_str().unwrap().contains("reinstate")),
            "{log}"
        );
        let users = new.ask("olga", "GET", "/v1/users", "");
        let user =
            |name: &str| users.as_array().unwrap().iter().find(|user| user["name"] == name).cloned().unwrap();
        assert_eq!((&user("admin")["access"], &user("admin")["locked"]), (&"config".into(), &false.into()));
        assert_eq!((&user("olga")["access"], &user("olga")["locked"]), (&"basic".into(), &true.into()));
        let network = new.ask("olga", "GET", "/v1/network", "");
        let management = &network["management"];
        assert_eq!(management["kernel"], "management0", "{network}");
        assert_eq!((&management["enabled"], &management["ipv4"]["method"]), (&true.into(), &"manual".into()));
        let live = management["addresses"].as_array().unwrap();
        assert!(live.contains(&"192.168.45.45/24".into()), "{network}");
        let disk = new.ask("olga", "GET", "/v1/disk", "");
        assert!(disk["file_systems"][0]["size"].as_u64().unwrap() > 0, "{disk}");
        assert!(new.ask("olga", "GET", "/v1/time", "")["uptime"].as_u64().unwrap() > 0);
        for host in ["127.0.0.1", "::1"] {
            let pinged = new.ask("olga", "POST", "/v1/ping", &format!(r#"{{"host":"{host}","sequence":1}}"#));
            assert!(pinged["time"].as_f64().is_some(), "{pinged}");
        }
        for (who, method, path) in [
            ("olga", "POST", "/v1/reboot"),
            ("olga", "POST", "/v1/tech-support"),
            ("olga", "GET", "/v1/files/x"),
            ("nobody", "GET", "/v1/status"),
        ] {
            let refused = new.ask(who, method, path, "");
            assert_eq!(refused["failures"][0]["code"], "forbidden", "{who} {path}: {refused}");
        }
    });
}

#[test]
#[ignore = "needs root and the image: tests/containers"]
fn an_admin_gets_a_tech_support_file_and_restarts_the_appliance() {
    apart("appliance-admin", |site| {
        let mut new = Replacement::boot(site);
        let made = new.ask("admin", "POST", "/v1/tech-support", "");
        let file = format!("/var/sf/backup/{}", made["file"].as_str().unwrap());
        assert_eq!(
            new.container.look(&format!("stat -c %U:%G:%a {file}")),
            "reinstate:reinstate-admin:640\n"
        );
        let inside = new.container.look(&format!("tar -xzOf {file}"));
        let hash = new.container.look("grep ^admin: /etc/shadow | cut -d: -f2");
        assert!(inside.contains("/etc/shadow") && !inside.contains(hash.trim()), "{inside}");
        assert!(!inside.contains("\"failures\""), "{inside}");
        new.ask("admin", "POST", "/v1/reboot", "");
        new.container.restarts();
        new.wait_for_agent();
        let log = new.container.look("journalctl -b -1 -u reinstated.service");
        assert!(log.contains("restart asked for"), "{log}");
    });
}
