//! One question of the first login, asked until the answer is of its type.

use crate::Shell;
use crate::question::heard;

/// Wrong answers to one question before the session ends.
pub const TRIES: usize = 10;

/// Whoever answers is gone, or gives up: the next login begins anew.
pub struct Left;

pub type Asked<T> = Result<T, Left>;

/// Asks; `empty` is what an empty answer stands for, `form` what an answer has to be.
pub fn answer<T>(
    shell: &mut Shell,
    question: &str,
    empty: &str,
    form: &str,
    value: impl Fn(&str) -> Option<T>,
) -> Asked<T> {
    for _ in 0..TRIES {
        let text = heard(shell, question).ok_or(Left)?;
        let text = if text.is_empty() { empty.to_owned() } else { text };
        match value(&text) {
            Some(value) => return Ok(value),
            None => shell.console.line(format!("'{text}' is not {form}.")),
        }
    }
    Err(Left)
}

/// The same with a default, which is shown.
pub fn or_default<T>(
    shell: &mut Shell,
    question: &str,
    default: &str,
    form: &str,
    value: impl Fn(&str) -> Option<T>,
) -> Asked<T> {
    answer(shell, &format!("{question} [{default}]: "), default, form, value)
}

pub fn yes_no(shell: &mut Shell, question: &str, default: bool) -> Asked<bool> {
    let default = if default { "y" } else { "n" };
    or_default(shell, question, default, "y or n", is_yes)
}

pub fn is_yes(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

pub fn one_of(text: &str, words: &[&'static str]) -> Option<&'static str> {
    words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied()
}

/// `none` is a value too.
pub fn optional<T>(text: &str, value: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text.eq_ignore_ascii_case("none") { Some(None) } else { value(text).map(Some) }
}
