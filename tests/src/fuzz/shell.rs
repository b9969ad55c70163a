//! Lines that admins type.

use reinstate_agent::server;
use reinstate_api::{ExtractRequest, ImportRequest, RestoreRequest};
use reinstate_shell::grammar::Command;
use reinstate_shell::parse::{choices, completions, parse};

/// A line is a command or an error that points into it. A command's words may be typed further without another
/// meaning, and the agent understands what it asks for.
pub fn shell(input: &[u8]) {
    let Ok(line) = std::str::from_utf8(input) else { return };
    let length = line.chars().count();
    let (start, words) = completions(line);
    assert!(line.is_char_boundary(start));
    let begun = line[start..].to_owned();
    assert!(words.iter().all(|word| word.starts_with(&begun)), "{words:?}");
    match choices(line) {
        Ok((_, complete)) => assert!(!complete || matches!(parse(line), Ok(Some(_)))),
        Err(error) => assert!(error.at <= length),
    }
    match parse(line) {
        Ok(Some(command)) => {
            understood(&command);
            typed_further(line, &command);
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

/// Where only words may stand, any longer beginning of the word that was meant is the same word.
fn typed_further(line: &str, command: &Command) {
    if line.contains('"') {
        return;
    }
    let mut from = 0;
    for word in line.split_whitespace() {
        let at = from + line[from..].find(word).unwrap();
        from = at + word.len();
        let Ok((open, _)) = choices(&line[..at]) else { panic!("{line:?} is a command") };
        if !open.iter().all(|(name, _)| is_word(name)) {
            continue;
        }
        let mut meant = open.iter().map(|(name, _)| *name).filter(|name| name.starts_with(word));
        let whole = match (meant.clone().find(|name| *name == word), meant.next()) {
            (Some(_), _) => continue,
            (None, Some(name)) => name,
            (None, None) => panic!("'{word}' is no word of {open:?}"),
        };
        for length in word.len() + 1..=whole.len() {
            let longer = format!("{}{}{}", &line[..at], &whole[..length], &line[from..]);
            assert_eq!(
                format!("{:?}", parse(&longer)),
                format!("{:?}", Ok::<_, ()>(Some(command))),
                "{longer:?}"
            );
        }
    }
}

/// Names of arguments are in capitals.
fn is_word(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_uppercase())
}
