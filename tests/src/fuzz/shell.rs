//! Lines that admins type.

use reinstate_agent::server;
use reinstate_api::{Access, Change, ExtractRequest, ImportRequest, RestoreRequest};
use reinstate_shell::grammar::Command;
use reinstate_shell::parse::{Completions, choices, completions, parse, without_secrets};

/// A line is a command or an error that points into it. A command's words may be typed further without another
/// meaning, and the agent understands what it asks for.
pub fn shell(input: &[u8]) {
    let Ok(line) = std::str::from_utf8(input) else { return };
    let length = line.chars().count();
    let Completions { start, words, .. } = completions(line, Access::Config);
    assert!(line.is_char_boundary(start));
    let begun = line[start..].to_owned();
    assert!(words.iter().all(|word| word.starts_with(&begun)), "{words:?}");
    match choices(line, Access::Config) {
        Ok((_, complete)) => assert!(!complete || matches!(parse(line), Ok(Some(_)))),
        Err(error) => assert!(error.at <= length),
    }
    match parse(line) {
        Ok(Some((command, access))) => {
            understood(&command);
            forgotten(line, &command);
            typed_further(line, &command, access);
        }
        Ok(None) => assert!(line.trim().is_empty()),
        Err(error) => assert!(error.at <= length && !error.kind.to_string().is_empty()),
    }
}

/// The agent reads a request as the shell has meant it.
fn understood(command: &Command) {
    let (sent, read) = match command {
        Command::Restore(request) => {
            let sent = serde_json::to_vec(request).unwrap();
            (sent.clone(), server::asked::<RestoreRequest>(&sent).map(|read| serde_json::to_vec(&read)))
        }
        Command::BackupImport(request) => {
            let sent = serde_json::to_vec(request).unwrap();
            (sent.clone(), server::asked::<ImportRequest>(&sent).map(|read| serde_json::to_vec(&read)))
        }
        Command::BackupExtract(request) => {
            let sent = serde_json::to_vec(request).unwrap();
            (sent.clone(), server::asked::<ExtractRequest>(&sent).map(|read| serde_json::to_vec(&read)))
        }
        _ => return,
    };
    let read = read.unwrap_or_else(|_| panic!("{command:?} is not understood")).unwrap();
    assert_eq!(String::from_utf8(read), String::from_utf8(sent));
}

/// A secret in a line is not in what is kept of it.
fn forgotten(line: &str, command: &Command) {
    let Command::Configure(Change::ManagerAdd(manager)) = command else { return };
    let kept = without_secrets(line).unwrap();
    let key = manager.key.expose();
    assert!(kept.split_whitespace().nth(4) == Some("***") || key == "***", "{kept}");
}

/// Where only words may stand, any longer beginning of the word that was meant is the same word.
fn typed_further(line: &str, command: &Command, access: Access) {
    if line.contains('"') {
        return;
    }
    let mut from = 0;
    for word in line.split_whitespace() {
        let at = from + line[from..].find(word).unwrap();
        from = at + word.len();
        let Ok((open, _)) = choices(&line[..at], Access::Config) else { panic!("{line:?} is a command") };
        if !open.iter().all(|(name, _)| is_word(name)) {
            continue;
        }
        let meant: Vec<&str> =
            open.iter().map(|(name, _)| *name).filter(|name| name.starts_with(word)).collect();
        let whole = match meant.as_slice() {
            [] => panic!("'{word}' is no word of {open:?}"),
            // Which of several words is meant, the rest of the line has decided.
            [only] if *only != word => *only,
            _ => continue,
        };
        for length in word.len() + 1..=whole.len() {
            let longer = format!("{}{}{}", &line[..at], &whole[..length], &line[from..]);
            assert_eq!(
                format!("{:?}", parse(&longer)),
                format!("{:?}", Ok::<_, ()>(Some((command, access)))),
                "{longer:?}"
            );
        }
    }
}

/// Names of arguments are in capitals.
fn is_word(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_uppercase())
}
