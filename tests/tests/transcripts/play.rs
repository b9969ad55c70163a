//! A play: what is typed where, and what came back against what is on record.

use std::fs;
use std::path::PathBuf;

use super::SIZES;
use super::normal::{lasting, normal, squeezed};
use super::place::Place;
use super::plays;
use super::session::{Session, Size};

pub enum Step {
    /// A line of commands, to the next prompt.
    Say(&'static str),
    /// A line, to the end of what is asked then.
    Line(&'static str, &'static str),
    /// The same, of what is not shown.
    Secret(&'static str, &'static str),
    /// Keys without a sign of their own, by name, and how that which they show ends. On terminals only.
    Keys(&'static str, &'static str, &'static str),
    /// The beginning of a line, typed by hand. On terminals only.
    Type(&'static str),
    /// A line after which the session ends.
    Last(&'static str),
    /// The end of the input; on a terminal this key, Ctrl-C or Ctrl-D.
    EndOfInput(char),
    /// A new session of this account; how what it begins with ends.
    Login(&'static str, &'static str),
    /// One command without a session.
    Exec(&'static str),
    Do(fn(&Place)),
    /// The same between keys, on terminals only.
    DoOnTerminal(fn(&Place)),
}

pub struct Play {
    pub place: fn() -> Place,
    pub steps: Vec<Step>,
    /// Columns are not kept: its tables are of this machine's numbers.
    pub squeezed: bool,
    /// Lines that are longer than a terminal.
    pub wide: &'static [&'static str],
}

/// Whatever a key shows.
pub const ANY: &str = "(any)";

/// What a new session ends with where its admin may type commands.
pub const PROMPT: &str = "> ";

/// Plays it, and compares.
pub fn check(name: &str, size: &str) {
    let play = plays::play(name);
    let (_, on) = SIZES.into_iter().find(|(known, _)| *known == size).unwrap();
    let place = (play.place)();
    let mut record = Vec::new();
    for session in sessions(&play, &place, on) {
        record.extend(session);
    }
    rules(&record, on, play.wide);
    let mut text = normal(&record, &place.values());
    if play.squeezed {
        text = squeezed(&text);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let file = folder().join(size).join(format!("{name}.txt"));
    if std::env::var_os("REINSTATE_TRANSCRIPTS").is_some_and(|what| what == "write") {
        let known = fs::read_to_string(&file).unwrap_or_default();
        // What one run shows and another does not is no reason for a difference.
        if lasting(&known) != lasting(&text) {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &text).unwrap();
        }
        return;
    }
    let known = fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}: REINSTATE_TRANSCRIPTS=write makes it", file.display()));
    let (known, now) = (lasting(&known), lasting(&text));
    assert!(
        known == now,
        "{} is not what came (- on record, + now):\n{}",
        file.display(),
        difference(&known, &now)
    );
}

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

fn sessions(play: &Play, place: &Place, on: Size) -> Vec<Vec<u8>> {
    let values = place.values();
    let filled =
        |text: &str| values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let (mut done, mut current): (Vec<Vec<u8>>, Option<Session>) = (Vec::new(), None);
    for step in &play.steps {
        match step {
            Step::Login(user, end) => {
                done.extend(current.take().map(|session| session.record.clone()));
                done.push(format!("«{user} logs in»\n").into_bytes());
                let mut session = Session::open(on, &place.shell(user, None));
                match *end {
                    PROMPT => session.expect_prompt(),
                    end => session.expect(end),
                }
                current = Some(session);
                continue;
            }
            Step::Exec(command) => {
                done.extend(current.take().map(|session| session.record.clone()));
                let mut command_line = place.shell("admin", Some(&filled(command)));
                let output = command_line.env_clear().env("PATH", "/usr/sbin:/usr/bin").output().unwrap();
                let status = output.status.code().unwrap();
                let (out, err) = (output.stdout, output.stderr);
                done.push(format!("«reinstate-shell -c '{command}'»\n").into_bytes());
                done.push(out);
                done.push(err);
                done.push(format!("«exit status {status}»\n\n").into_bytes());
                continue;
            }
            Step::DoOnTerminal(_) if on == Size::Pipes => continue,
            Step::Do(what) | Step::DoOnTerminal(what) => {
                what(place);
                continue;
            }
            _ => {}
        }
        let session = current.as_mut().expect("somebody has logged in");
        let line = |session: &mut Session, text: &str, shown: bool| {
            if on == Size::Pipes || !shown {
                session.note(if text.is_empty() { "Enter" } else { text });
            }
            session.send(&format!("{}{}", filled(text), if on == Size::Pipes { "\n" } else { "\r" }));
        };
        match step {
            Step::Say(text) => {
                line(session, text, true);
                session.expect_prompt();
            }
            Step::Line(text, end) => {
                line(session, text, true);
                session.expect(end);
            }
            Step::Secret(text, end) => {
                line(session, text, false);
                match *end {
                    PROMPT => session.expect_prompt(),
                    end => session.expect(end),
                }
            }
            Step::Last(text) => {
                line(session, text, true);
                session.expect_end();
            }
            Step::EndOfInput(letter) => {
                match on {
                    Size::Pipes => {
                        session.note("end of input");
                        session.end_input();
                    }
                    Size::Terminal { .. } => {
                        session.note(&format!("Ctrl-{letter}"));
                        session.send(&char::from(*letter as u8 - b'@').to_string());
                    }
                }
                session.expect_end();
            }
            Step::Keys(..) | Step::Type(_) if on == Size::Pipes => {}
            Step::Keys(keys, name, end) => {
                if !name.is_empty() {
                    session.note(name);
                }
                session.send(keys);
                match *end {
                    ANY => session.expect_something(),
                    "" => session.expect_nothing(),
                    PROMPT => session.expect_prompt(),
                    end => session.expect(end),
                }
            }
            Step::Type(text) => {
                session.send(text);
                session.expect(text);
            }
            Step::Login(..) | Step::Exec(_) | Step::Do(_) | Step::DoOnTerminal(_) => {
                unreachable!("they were done above")
            }
        }
    }
    done.extend(current.take().map(|session| session.record.clone()));
    done
}

/// What holds for every session: only the prompt looks like one, and lines fit their terminal.
fn rules(record: &[u8], on: Size, wide: &[&str]) {
    let text = String::from_utf8(record.to_vec()).expect("all of it is text").replace("\r\n", "\n");
    let mut wrong = Vec::new();
    for line in text.lines() {
        let prompt = line == "> ";
        if line.trim_end().ends_with(['>', '#']) && !prompt {
            wrong.push(format!("it ends like a prompt: {line}"));
        }
        // An answer is as long as it is.
        let typed = line.starts_with("> ")
            || ["]: ", "own folder): "].iter().any(|question| line.contains(question))
            || line.contains(['«', '\r', '\u{8}', '\u{1b}']);
        if let Size::Terminal { columns, .. } = on
            && line.chars().count() > usize::from(columns)
            && !typed
            // Whoever parses them reads lines.
            && !["Error: ", "       ", "Model  ", "Source  "].iter().any(|start| line.starts_with(start))
            && !wide.iter().any(|start| line.starts_with(start))
        {
            wrong.push(format!("it does not fit {columns} columns: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Line by line, what is the same left out but for its neighbours.
fn difference(old: &[&str], new: &[&str]) -> String {
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        match () {
            () if i < old.len() && j < new.len() && old[i] == new[j] => {
                lines.push((' ', old[i]));
                (i, j) = (i + 1, j + 1);
            }
            () if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] => {
                lines.push(('-', old[i]));
                i += 1;
            }
            () => {
                lines.push(('+', new[j]));
                j += 1;
            }
        }
    }
    let near = |at: usize| {
        lines[at.saturating_sub(2)..(at + 3).min(lines.len())].iter().any(|(sign, _)| *sign != ' ')
    };
    let shown = (0..lines.len()).filter(|at| near(*at));
    shown.map(|at| format!("{} {}", lines[at].0, lines[at].1)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_difference_shows_what_is_gone_and_what_is_new() {
    let shown = difference(&["a", "b", "c", "d", "e", "f"], &["a", "b", "x", "d", "e", "f"]);
    assert_eq!(shown, "  a\n  b\n- c\n+ x\n  d\n  e");
}
