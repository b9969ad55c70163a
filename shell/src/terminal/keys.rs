//! From the bytes of a terminal to keys.

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    Tab,
    Backspace,
    Delete,
    /// With the letter: `Ctrl('A')`.
    Ctrl(char),
    /// With the letter, small.
    Alt(char),
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    /// Something that has no meaning here.
    Other,
}

/// Longer sequences are nobody's.
const SEQUENCE: usize = 32;

/// The bytes of a key that is not whole yet.
#[derive(Default)]
pub struct Keys {
    pending: Vec<u8>,
    after_cr: bool,
    /// A byte that turned out to belong to the next key.
    back: Option<u8>,
}

impl Keys {
    /// The key that this byte completes.
    pub fn feed(&mut self, byte: u8) -> Option<Key> {
        if std::mem::replace(&mut self.after_cr, false) && byte == b'\n' {
            return None;
        }
        self.pending.push(byte);
        let key = key(&self.pending)?;
        if key == Key::Char(char::REPLACEMENT_CHARACTER) && self.pending.len() > 1 {
            self.back = self.pending.pop();
        }
        self.pending.clear();
        self.after_cr = byte == b'\r' && key == Key::Enter;
        Some(key)
    }

    /// The last byte, where it did not belong to the key that it has ended.
    pub fn back(&mut self) -> Option<u8> {
        self.back.take()
    }
}

/// None as long as more bytes belong to it.
fn key(bytes: &[u8]) -> Option<Key> {
    Some(match bytes {
        [b'\r' | b'\n'] => Key::Enter,
        [b'\t'] => Key::Tab,
        [0x7f | 0x08] => Key::Backspace,
        [0x1b] => return None,
        [0x1b, rest @ ..] => return escape(rest),
        [byte @ 0x01..=0x1a] => Key::Ctrl((byte - 1 + b'A') as char),
        [0x00..=0x1f] => Key::Other,
        bytes => match std::str::from_utf8(bytes) {
            Ok(text) => text.chars().next().map_or(Key::Other, Key::Char),
            Err(error) if error.error_len().is_none() && bytes.len() < 4 => return None,
            // What is no text must not become a command by leaving it out.
            Err(_) => Key::Char(char::REPLACEMENT_CHARACTER),
        },
    })
}

/// What follows an escape.
fn escape(bytes: &[u8]) -> Option<Key> {
    Some(match bytes {
        [b'[' | b'O'] => return None,
        [b'[', .., last] | [b'O', last] if last.is_ascii_alphabetic() || *last == b'~' => match bytes {
            [_, b'A'] => Key::Up,
            [_, b'B'] => Key::Down,
            [_, b'C'] => Key::Right,
            [_, b'D'] => Key::Left,
            [_, b'H'] | [b'[', b'1' | b'7', b'~'] => Key::Home,
            [_, b'F'] | [b'[', b'4' | b'8', b'~'] => Key::End,
            [b'[', b'3', b'~'] => Key::Delete,
            _ => Key::Other,
        },
        [b'[', .., last] if (0x20..0x7f).contains(last) && bytes.len() < SEQUENCE => return None,
        [letter] if letter.is_ascii_alphabetic() => Key::Alt(letter.to_ascii_lowercase() as char),
        _ => Key::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        let mut pending: std::collections::VecDeque<u8> = bytes.iter().copied().collect();
        let mut found = Vec::new();
        while let Some(byte) = pending.pop_front() {
            found.extend(keys.feed(byte));
            keys.back().into_iter().for_each(|byte| pending.push_front(byte));
        }
        found
    }

    #[test]
    fn carriage_return_line_feed_and_both_are_one_enter() {
        assert_eq!(keys(b"\r\n\r\n\n"), [Key::Enter, Key::Enter, Key::Enter]);
        assert_eq!(keys(b"\n\r"), [Key::Enter, Key::Enter]);
    }

    #[test]
    fn keys_of_every_terminal_are_known() {
        use Key::*;
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[C\x1b[D"), [Up, Down, Right, Left]);
        assert_eq!(
            keys(b"\x1b[H\x1b[1~\x1b[7~\x1bOF\x1b[4~\x1b[8~\x1b[3~"),
            [Home, Home, Home, End, End, End, Delete]
        );
        assert_eq!(
            keys(b"\x01\x0b\x7f\x08\x1bb\x1bF"),
            [Ctrl('A'), Ctrl('K'), Backspace, Backspace, Alt('b'), Alt('f')]
        );
        assert_eq!(keys("aé漢😀".as_bytes()), [Char('a'), Char('é'), Char('漢'), Char('😀')]);
    }

    #[test]
    fn a_sequence_that_nobody_knows_types_nothing() {
        assert_eq!(keys(b"\x1b[200~x\x1b[1;5Cy\x1b[?1;2cz").iter().filter(|k| **k != Key::Other).count(), 3);
        assert_eq!(keys(b"\x1b[\x1b[x"), [Key::Other, Key::Char('['), Key::Char('x')]);
    }

    #[test]
    fn what_is_no_text_is_never_left_out() {
        let broken = Key::Char(char::REPLACEMENT_CHARACTER);
        assert_eq!(keys(b"\xff"), [broken]);
        assert_eq!(keys(b"\xc3("), [broken, Key::Char('(')]);
        assert_eq!(keys(b"caf\xe9\r").last(), Some(&Key::Enter));
        assert!(keys(b"\xf0\x9f\x98x").contains(&broken));
    }
}
