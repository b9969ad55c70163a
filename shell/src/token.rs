//! Splits a line into words.

/// A word as it was typed.
pub struct Token {
    pub text: String,
    /// Where it starts, in characters.
    pub at: usize,
    /// A quoted word is an argument, whatever it says.
    pub quoted: bool,
}

impl Token {
    /// True where this may stand for `word`.
    pub fn begins(&self, word: &str) -> bool {
        !self.quoted && word.starts_with(&self.text)
    }
}

/// Words are separated by spaces; inside `"` spaces are kept, and `\"` and `\\` are `"` and `\`.
/// None where a quote is not closed.
pub fn tokens(line: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut current: Option<Token> = None;
    let mut in_quotes = false;
    let mut chars = line.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() && !in_quotes {
            tokens.extend(current.take());
            continue;
        }
        let token = current.get_or_insert_with(|| Token { text: String::new(), at, quoted: false });
        match c {
            '"' => {
                in_quotes = !in_quotes;
                token.quoted = true;
            }
            '\\' if in_quotes => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => token.text.push(escaped),
                None => token.text.push(c),
            },
            c => token.text.push(c),
        }
    }
    if in_quotes {
        return None;
    }
    tokens.extend(current);
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn quotes_keep_spaces_and_nothing_else_is_special() {
        let words = |line: &str| {
            let tokens = tokens(line)?;
            Some(tokens.into_iter().map(|token| (token.text, token.at)).collect::<Vec<_>>())
        };
        let pair = |text: &str, at| (text.to_owned(), at);
        assert_eq!(words(" a\tb "), Some(vec![pair("a", 1), pair("b", 3)]));
        assert_eq!(
            words("a \"b \\\" \\\\ \\c\" d"),
            Some(vec![pair("a", 0), pair("b \" \\ \\c", 2), pair("d", 15)])
        );
        assert_eq!(words("$HOME `id` ;|&"), Some(vec![pair("$HOME", 0), pair("`id`", 6), pair(";|&", 11)]));
        assert_eq!(words("\"\""), Some(vec![pair("", 0)]));
        assert_eq!(words("a \"b"), None);
    }
}
