//! The command reference and the manual page, made of the table.

use std::fmt::Write;

use reinstate_api::Access;

use crate::grammar::{self, Part, Row};

/// `shell/COMMANDS.md`
pub fn markdown() -> String {
    let mut text = String::from(
        "# Commands\n\n\
         Made of the shell's table of commands by `cargo run --bin reference`; a test fails where it is stale.\n\n\
         A word may be cut short as long as it stays the only one; `?` lists what may follow, Tab and Space complete.\n\
         Behind a command, `| include PATTERN`, `| exclude PATTERN`, `| begin PATTERN` and `| count [PATTERN]` leave a part of its\n\
         output; `--json` at the end of a `show` gives what the agent's API says. In capitals stands what is yours to fill in;\n\
         a value with spaces is written in double quotes.\n",
    );
    let mut group = "";
    for row in grammar::rows() {
        let first = word(row);
        if first != group && !is_single(first) {
            let _ = write!(text, "\n## {first}\n");
        } else if first != group && !is_single(group) {
            text += "\n## Others\n";
        }
        group = first;
        let _ = write!(text, "\n    {}\n\n{}", row.syntax(), row.help);
        text += if row.access == Access::Basic { ".\n" } else { " (access config).\n" };
        let mut arguments = Vec::new();
        collect(row.parts, &mut arguments);
        if !arguments.is_empty() {
            text += "\n";
        }
        for (name, help) in arguments {
            let _ = writeln!(text, "- `{name}`: {help}");
        }
    }
    text
}

/// `shell/reinstate-shell.1`
pub fn manual() -> String {
    let mut text = String::from(
        ".TH REINSTATE\\-SHELL 1\n.SH NAME\nreinstate\\-shell \\- the admin's restricted shell\n.SH SYNOPSIS\n\
         .B reinstate\\-shell\n[\\fB\\-c\\fR \\fICOMMAND\\fR]\n.SH DESCRIPTION\n\
         The login shell of an appliance's admins, a client of the restore agent. With\n.B \\-c\nit runs one command.\n\
         .SH EXIT STATUS\n0 done, 1 refused, failed or not watched to its end, 2 not understood, 3 no agent.\n.SH COMMANDS\n",
    );
    for row in grammar::rows() {
        let _ = writeln!(text, ".TP\n.B {}\n{}.", roff(&row.syntax()), roff(row.help));
    }
    text
}

fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga")
}

fn word(row: &Row) -> &'static str {
    match row.parts.first() {
        Some(Part::Word(word, _)) => word,
        _ => "",
    }
}

/// A first word that only one command has.
fn is_single(first: &str) -> bool {
    grammar::rows().filter(|row| word(row) == first).count() == 1
}

fn collect(parts: &[Part], found: &mut Vec<(&'static str, &'static str)>) {
    for part in parts {
        let mut add = |name, help| {
            if !found.contains(&(name, help)) {
                found.push((name, help));
            }
        };
        match part {
            Part::Word(..) => {}
            Part::Choice(words, _) => words.iter().for_each(|(word, help)| add(word, help)),
            Part::Argument(argument) => add(argument.name, argument.help),
            Part::Optional(inner) => {
                if let Some(Part::Word(word, help)) = inner.first() {
                    add(word, help);
                }
                collect(inner, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_and_the_manual_page_are_those_of_the_table() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for (file, wanted) in [("COMMANDS.md", super::markdown()), ("reinstate-shell.1", super::manual())] {
            let there = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
            assert!(
                there == wanted,
                "shell/{file} is stale: cargo run --release -p reinstate-shell --bin reference"
            );
        }
    }
}
