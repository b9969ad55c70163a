//! An interactive session: lines are read with help and completion, and run until it ends.

use reinstate_api::{Access, BackupFile, Failure};

use crate::parse::{self, Completions};
use crate::terminal::{Asking, Heard};
use crate::{Exit, Flow, NO_COMMAND, Shell, commands};

/// Reads and runs lines until the end of the input, `exit`, a restart, or too long a silence.
pub fn run(shell: &mut Shell) -> Exit {
    let mut last = Exit::Ok;
    while !shell.console.is_gone() && !shell.console.has_ended() {
        // Where the agent was away at the login, the session begins once it is back.
        if shell.lasting.is_none()
            && let Some(exit) = crate::begin(shell)
        {
            return exit;
        }
        let line = match read(shell) {
            Read::Line(line) => line,
            Read::Again => continue,
            Read::End => break,
        };
        shell.signals.forget();
        shell.history.add(&line);
        match commands::execute(shell, &line) {
            Flow::Next(exit) => last = exit,
            Flow::Leave(exit) => {
                last = exit;
                break;
            }
        }
    }
    shell.history.keep();
    last
}

enum Read {
    Line(String),
    Again,
    End,
}

fn read(shell: &mut Shell) -> Read {
    let mut asking = shell.console.prompt();
    // Which of the earlier lines is shown, from the end; 0 is the new one, kept meanwhile.
    let (mut back, mut new) = (0, String::new());
    loop {
        match shell.console.hear(&mut asking, None) {
            Heard::Line(line) => return Read::Line(line.expose().to_owned()),
            Heard::Unusable => return Read::Line(NO_COMMAND.to_owned()),
            Heard::Interrupt | Heard::Other => return Read::Again,
            Heard::End | Heard::Hangup | Heard::Idle => return Read::End,
            Heard::Help => {
                shell.console.below(&mut asking);
                let before = asking.before().to_owned();
                commands::question_mark(shell, &before);
                shell.console.again(&mut asking);
            }
            Heard::Complete => complete(shell, &mut asking),
            Heard::Space => space(shell, &mut asking),
            heard @ (Heard::Earlier | Heard::Later) => {
                let to = match heard {
                    Heard::Earlier => back + 1,
                    _ if back == 0 => continue,
                    _ => back - 1,
                };
                if back == 0 {
                    new = asking.text().to_owned();
                }
                let text = if to == 0 { Some(new.as_str()) } else { shell.history.back(to) };
                if let Some(text) = text {
                    back = to;
                    shell.console.put_line(&mut asking, text);
                }
            }
        }
    }
}

/// Tab: the word as far as it is certain, else what it may become.
fn complete(shell: &mut Shell, asking: &mut Asking) {
    let before = asking.before().to_owned();
    let Completions { start, words, files } = parse::completions(&before, shell.access);
    let typed = &before[start..];
    let mut names: Vec<String> = words.into_iter().map(str::to_owned).collect();
    if files {
        names.extend(backup_files(shell, typed));
    }
    match names.as_slice() {
        [] => {}
        [only] => shell.console.put(asking, start, &format!("{only} ")),
        [first, rest @ ..] => {
            let common = rest.iter().fold(first.as_str(), |common, name| common_start(common, name));
            if common.len() > typed.len() {
                let common = common.to_owned();
                shell.console.put(asking, start, &common);
                return;
            }
            shell.console.below(asking);
            names.iter().for_each(|name| shell.console.line(format!("  {name}")));
            shell.console.again(asking);
        }
    }
}

/// A space typed by hand: it completes a word that is certain already.
fn space(shell: &mut Shell, asking: &mut Asking) {
    let before = asking.before().to_owned();
    let Completions { start, words, .. } = parse::completions(&before, shell.access);
    let typed = &before[start..];
    // Where an argument may stand as well, it is not for a space to decide.
    let certain = parse::choices(&before, shell.access).is_ok_and(|(choices, _)| choices.len() == 1);
    let rest = match words.as_slice() {
        [only] if certain && !typed.is_empty() => only.strip_prefix(typed).unwrap_or(""),
        _ => "",
    };
    shell.console.put(asking, before.len(), &format!("{rest} "));
}

/// Backups whose name begins so, as they have to be typed. An agent that does not answer knows none.
fn backup_files(shell: &mut Shell, typed: &str) -> Vec<String> {
    let files: Result<Vec<BackupFile>, Vec<Failure>> = shell.client.get("/v1/files");
    let typed = typed.trim_start_matches('"');
    let whole = files.unwrap_or_default().into_iter().filter(|file| !file.partial);
    let names = whole.map(|file| file.file).filter(|name| name.starts_with(typed));
    names
        .filter(|name| *name == reinstate_api::one_line(name) && !name.contains(['"', '\\']))
        .map(|name| if name.contains(' ') { format!("\"{name}\"") } else { name })
        .collect()
}

fn common_start<'a>(a: &'a str, b: &str) -> &'a str {
    let end = a.char_indices().zip(b.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
    &a[..end.unwrap_or(a.len().min(b.len()))]
}

impl Shell {
    /// Whether a command may be run; where not, why.
    pub fn permits(&self, needed: Access) -> Result<(), Vec<Failure>> {
        if needed <= self.access {
            return Ok(());
        }
        let why = format!("this command needs the access {needed}, yours is {}", self.access);
        Err(vec![
            Failure::new(reinstate_api::Code::Forbidden, why)
                .hint("an admin can change that: `configure user access`"),
        ])
    }
}
