use reinstate_api::Source;

use super::*;
use crate::grammar::View;

fn command(line: &str) -> Command {
    match parse(line) {
        Ok(Some((command, _))) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn error(line: &str) -> (SyntaxErrorKind, usize) {
    match parse(line) {
        Err(SyntaxError { kind, at }) => (kind, at),
        other => panic!("{line}: {other:?}"),
    }
}

fn restore(line: &str) -> (Source, bool) {
    match command(line) {
        Command::Restore(request) => (request.source, request.check),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_backup_is_named_with_or_without_the_word_backup() {
    let fw = Source::Backup("fw.tar".into());
    for line in ["restore remote-manager-backup fw.tar", "restore remote-manager-backup backup fw.tar"] {
        assert_eq!(restore(line), (fw.clone(), false));
        assert_eq!(restore(&format!("{line} check")), (fw.clone(), true));
    }
    let odd = Source::Backup("check".into());
    assert_eq!(restore("restore remote-manager-backup \"check\" check"), (odd.clone(), true));
    assert_eq!(restore("restore remote-manager-backup backup check"), (odd, false));
}

#[test]
fn a_location_is_host_user_path_and_file() {
    let print = format!("SHA256:{}", "A".repeat(43));
    for (tail, path, fingerprint, check) in [
        ("/backups fw.tar", "/backups/fw.tar", None, false),
        ("/backups backup fw.tar", "/backups/fw.tar", None, false),
        ("/backups/fw.tar", "/backups/fw.tar", None, false),
        ("/backups/fw.tar fw.tar check", "/backups/fw.tar", None, true),
        ("/backups/fw.tar check", "/backups/fw.tar", None, true),
        (
            &format!("\"/my backups\" fw.tar fingerprint {print} check"),
            "/my backups/fw.tar",
            Some(print.clone()),
            true,
        ),
        (&format!("/b/fw.tar fing {print}"), "/b/fw.tar", Some(print.clone()), false),
    ] {
        let (source, checked) =
            restore(&format!("restore remote-manager-backup location [2001:db8::1]:2222 admin {tail}"));
        let Source::Location(location) = source else { panic!("{tail}") };
        assert_eq!((location.host.as_str(), location.port), ("2001:db8::1", 2222));
        assert_eq!(location.user, "admin");
        assert_eq!(location.path, path, "{tail}");
        assert_eq!(location.fingerprint, fingerprint, "{tail}");
        assert_eq!(checked, check, "{tail}");
    }
}

#[test]
fn unique_beginnings_of_words_are_enough() {
    assert!(matches!(command("sh ver"), Command::Show(View::Version, false)));
    assert!(matches!(command("  sh   res  hist "), Command::Show(View::RestoreHistory, false)));
    assert!(matches!(command("rest roll"), Command::RestoreRollback));
    assert!(matches!(command("conf m d"), Command::ManagerDelete));
    // What several words begin with is the one that the rest fits.
    assert!(matches!(command("configur del 3"), Command::ConfigurationDelete(_)));
    let (source, _) = restore("rest rem loc 192.0.2.1 admin /b/fw.tar");
    assert!(matches!(source, Source::Location(_)));
    assert_eq!(restore("rest rem b"), (Source::Backup("b".into()), false));
}

#[test]
fn an_error_says_its_kind_and_where() {
    use SyntaxErrorKind::{CommandLine, NotCompleted, Parameter};
    assert_eq!(error("frobnicate"), (CommandLine, 0));
    assert_eq!(error("show  foo"), (CommandLine, 6));
    assert_eq!(error("show version now"), (CommandLine, 13));
    assert_eq!(error("h"), (CommandLine, 0));
    assert_eq!(error("restore r"), (CommandLine, 8));
    assert_eq!(error("show"), (NotCompleted, 4));
    assert_eq!(error("show \"version\""), (CommandLine, 5));
    assert_eq!(error("restore remote-manager-backup"), (NotCompleted, 29));
    assert_eq!(error("restore remote-manager-backup location 192.0.2.1 admin /b/"), (NotCompleted, 58));
    assert_eq!(error("restore remote-manager-backup a/b"), (Parameter, 30));
    assert_eq!(error("restore remote-manager-backup location h:0 u p f"), (Parameter, 39));
    assert_eq!(error("restore remote-manager-backup location h u p f fingerprint x"), (Parameter, 59));
    assert_eq!(error("restore remote-manager-backup f fingerprint x"), (CommandLine, 32));
    assert_eq!(error("restore \"unclosed"), (NotCompleted, 17));
    assert!(matches!(parse("  \t "), Ok(None)));
}

#[test]
fn a_question_mark_lists_what_may_stand_there() {
    const OVERRIDES: [&str; 3] = ["without-peer", "without-control", "address-in-use-ok"];
    let names = |line: &str| {
        let (choices, complete) = choices(line, Access::Config).unwrap();
        (choices.iter().map(|(name, _)| *name).collect::<Vec<_>>(), complete)
    };
    assert_eq!(names("show restore "), (vec!["--json", "detail", "history", "lock"], true));
    assert_eq!(names("show ver"), (vec!["version"], false));
    assert_eq!(names("restore remote-manager-backup "), (vec!["location", "backup", "FILE"], false));
    assert_eq!(
        names("restore remote-manager-backup location 192.0.2.1 admin /b/fw.tar "),
        (
            [&["backup", "FILE", "fingerprint", "device", "confirm-within"][..], &OVERRIDES, &["check"]]
                .concat(),
            true
        )
    );
    assert_eq!(names("").0[..3], ["restore", "clear", "backup"]);
    assert_eq!(choices("show x", Access::Config).unwrap_err().at, 5);
}

#[test]
fn tab_completes_words_and_the_names_of_backups() {
    let found = |line| {
        let Completions { start, words, files } = completions(line, Access::Config);
        (start, words, files)
    };
    assert_eq!(found("sho"), (0, vec!["show"], false));
    assert_eq!(found("show rest"), (5, vec!["restore"], false));
    assert_eq!(found("restore remote-manager-backup "), (30, vec!["location", "backup"], true));
    assert_eq!(found("restore remote-manager-backup backup f"), (37, vec![], true));
    assert_eq!(found("configure user add alice b"), (25, vec!["basic"], false));
    assert_eq!(found("show version | inc"), (15, vec!["include"], false));
    assert_eq!(found("show version | include a"), (23, vec![], false));
    assert_eq!(found("nothing x"), (8, vec![], false));
}

#[test]
fn a_user_with_basic_access_is_offered_what_he_may_do() {
    let offered = |access| choices("", access).unwrap().0.into_iter().map(|(name, _)| name).collect();
    let (basic, config): (Vec<_>, Vec<_>) = (offered(Access::Basic), offered(Access::Config));
    assert!(basic.contains(&"show") && !basic.contains(&"restore") && config.contains(&"restore"));
    assert_eq!(completions("rest", Access::Basic).words, Vec::<&str>::new());
}

#[test]
fn what_goes_on_against_a_check_is_typed_in_full() {
    let overrides = |line: &str| match command(line) {
        Command::Restore(request) => request.overrides.len(),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(overrides("restore remote-manager-backup location h u /backups a"), 0);
    assert_eq!(overrides("restore remote-manager-backup fw.tar address-in-use-ok"), 1);
    assert_eq!(error("restore remote-manager-backup fw.tar a").0, SyntaxErrorKind::CommandLine);
}

#[test]
fn every_command_is_understood_as_its_own_reference_writes_it() {
    for row in grammar::rows() {
        let words: Vec<String> = row.parts.iter().filter_map(example).collect();
        let line = words.join(" ");
        assert!(
            matches!(parse(&line), Ok(Some((_, access))) if access == row.access),
            "{line}: {:?}",
            parse(&line)
        );
    }
}

/// Something that is of a part's type; None where it may be left out.
fn example(part: &Part) -> Option<String> {
    let name = match part {
        Part::Word(word, _) => word,
        Part::Choice(words, _) => words[0].0,
        Part::Argument(argument) => {
            const CANDIDATES: [&str; 9] = [
                "fw.tar",
                "fw",
                "/b/fw.tar",
                "192.0.2.1",
                "2001:db8::1",
                "24",
                "7",
                "AAAAC3NzaC1lZDI1",
                "alice",
            ];
            let fits = |text: &&&str| (argument.take)(&mut Draft::default(), text);
            CANDIDATES.iter().find(fits).unwrap_or_else(|| panic!("nothing fits {}", argument.name))
        }
        Part::Optional(_) => return None,
    };
    Some(name.to_owned())
}

#[test]
fn no_word_of_the_table_begins_like_an_error_or_ends_like_a_prompt() {
    for row in grammar::rows() {
        let syntax = row.syntax();
        assert!(!syntax.ends_with(['>', '#']) && !row.help.ends_with(['>', '#']), "{syntax}");
        assert!(syntax.is_ascii() && row.help.len() <= 75, "{syntax}");
    }
}
