//! Editing the command line on a terminal that can.

use rustyline::completion::Completer;
use rustyline::config::{BellStyle, ColorMode, CompletionType, Config, Configurer};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use crate::parse;

/// Completes the words of the grammar.
pub struct Words;

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let (start, words) = parse::completions(line.get(..at).unwrap_or(line));
        Ok((start, words.into_iter().map(|word| format!("{word} ")).collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

/// A line editor on standard input and output.
pub struct LineEditor(Editor<Words, MemHistory>);

impl LineEditor {
    pub fn open() -> Option<Self> {
        let config = Config::builder()
            .bracketed_paste(false)
            .bell_style(BellStyle::None)
            .color_mode(ColorMode::Disabled)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_history(config, MemHistory::new()).ok()?;
        editor.enable_synchronized_output(false);
        editor.set_helper(Some(Words));
        Some(Self(editor))
    }

    /// The terminal's width.
    pub fn columns(&mut self) -> usize {
        self.0.dimensions().map_or(80, |(columns, _)| usize::from(columns)).max(2)
    }

    /// A line; empty after Ctrl-C, None at the end of the input.
    pub fn line(&mut self) -> Option<String> {
        match self.0.readline("> ") {
            Ok(line) => {
                // Only lines that are too long are not kept.
                let _ = self.0.add_history_entry(line.as_str());
                Some(line)
            }
            Err(ReadlineError::Interrupted) => Some(String::new()),
            Err(_) => None,
        }
    }
}
