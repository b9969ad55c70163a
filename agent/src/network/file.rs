//! A file of sections, keys and values, as systemd has them, that keeps its comments and its order.

/// A line; with those that go on from it.
struct Line {
    /// With its end.
    text: String,
    /// Which section it is in, by number; 0 before the first.
    section: usize,
    kind: Kind,
}

enum Kind {
    Header(String),
    Setting {
        key: String,
        value: String,
    },
    /// A comment, an empty line, or nothing that systemd reads.
    Other,
}

/// One section, to be looked at.
pub struct Section<'a>(&'a [Line]);

impl Section<'_> {
    fn is(&self, name: &str) -> bool {
        matches!(self.0.first().map(|line| &line.kind), Some(Kind::Header(header)) if header == name)
    }

    /// The last value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find_map(|line| line.setting(key))
    }
}

impl Line {
    fn is_comment(&self) -> bool {
        matches!(self.kind, Kind::Other) && !self.text.trim().is_empty()
    }

    fn setting(&self, name: &str) -> Option<&str> {
        match &self.kind {
            Kind::Setting { key, value } if key == name => Some(value),
            _ => None,
        }
    }
}

#[derive(Default)]
pub struct File {
    lines: Vec<Line>,
    end: &'static str,
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

impl File {
    pub fn parse(text: &str) -> Self {
        let end = if text.split_inclusive('\n').next().is_some_and(|line| line.ends_with("\r\n")) {
            "\r\n"
        } else {
            "\n"
        };
        let (mut lines, mut section) = (Vec::new(), 0);
        let mut parts = text.split_inclusive('\n');
        while let Some(first) = parts.next() {
            let mut text = first.to_owned();
            let mut whole = first.trim().to_owned();
            while !is_comment(first) && whole.ends_with('\\') {
                let Some(next) = parts.next() else { break };
                text.push_str(next);
                // A comment in between does not end it.
                if !is_comment(next) {
                    whole.pop();
                    whole.push(' ');
                    whole.push_str(next.trim());
                }
            }
            let value = whole.trim_end_matches('\\').trim_end();
            let kind = match value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                _ if is_comment(first) => Kind::Other,
                Some(name) => {
                    section += 1;
                    Kind::Header(name.to_owned())
                }
                None => match value.split_once('=') {
                    Some((key, value)) => {
                        Kind::Setting { key: key.trim().to_owned(), value: value.trim().to_owned() }
                    }
                    None => Kind::Other,
                },
            };
            lines.push(Line { text, section, kind });
        }
        Self { lines, end }
    }

    pub fn text(&self) -> String {
        self.lines.iter().map(|line| line.text.as_str()).collect()
    }

    /// Every section of that name.
    pub fn sections(&self, name: &str) -> Vec<Section<'_>> {
        let all = self.lines.chunk_by(|line, next| line.section == next.section).map(Section);
        all.filter(|section| section.is(name)).collect()
    }

    /// The values that count: an empty one takes those before it away.
    pub fn values(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for at in self.settings(section, key) {
            match self.lines[at].setting(key) {
                Some("") => values.clear(),
                value => values.extend(value),
            }
        }
        values
    }

    /// The words of those values.
    pub fn words(&self, section: &str, key: &str) -> Vec<&str> {
        self.values(section, key).into_iter().flat_map(str::split_whitespace).collect()
    }

    pub fn value(&self, section: &str, key: &str) -> Option<&str> {
        self.values(section, key).pop()
    }

    /// Whether an empty value takes those of earlier files away.
    pub fn resets(&self, section: &str, key: &str) -> bool {
        self.settings(section, key).into_iter().any(|at| self.lines[at].setting(key) == Some(""))
    }

    /// One value in place of all.
    pub fn set(&mut self, section: &str, key: &str, value: &str) {
        self.set_list(section, key, |_| false, vec![value.to_owned()]);
    }

    /// New values in place of those that are not kept: where the first of them stood.
    pub fn set_list(&mut self, section: &str, key: &str, kept: impl Fn(&str) -> bool, new: Vec<String>) {
        let settings = self.settings(section, key);
        let reset = settings.iter().rposition(|at| self.lines[*at].setting(key) == Some(""));
        let ineffective = reset.map_or(0, |reset| reset + 1);
        let goes: Vec<usize> = settings
            .iter()
            .enumerate()
            .filter(|(nth, at)| *nth < ineffective || !self.lines[**at].setting(key).is_some_and(&kept))
            .map(|(_, at)| *at)
            .collect();
        let at = match (goes.first(), settings.last()) {
            (Some(first), _) => *first,
            (None, Some(last)) => last + 1,
            (None, None) => self.end_of(section),
        };
        for gone in goes.iter().rev() {
            self.lines.remove(*gone);
        }
        for (nth, value) in new.into_iter().enumerate() {
            self.insert(at + nth, key, value);
        }
    }

    /// Takes whole sections away, but no comment behind the last setting: it may be about what follows.
    pub fn drop_sections(&mut self, name: &str, goes: impl Fn(&Section<'_>) -> bool) {
        let gone = self.sections(name).into_iter().filter(|section| goes(section));
        let gone: Vec<usize> = gone.map(|section| section.0[0].section).collect();
        let mut at = 0;
        while at < self.lines.len() {
            let section = self.lines[at].section;
            let length = self.lines[at..].iter().take_while(|line| line.section == section).count();
            if gone.binary_search(&section).is_err() {
                at += length;
                continue;
            }
            let lines = &self.lines[at..at + length];
            let last = lines.iter().rposition(|line| !matches!(line.kind, Kind::Other)).unwrap_or(0);
            let comment = lines.iter().skip(last).position(|line| line.is_comment());
            let goes = comment.map_or(length, |comment| last + comment);
            self.lines.drain(at..at + goes);
            at += length - goes;
        }
    }

    fn settings(&self, section: &str, key: &str) -> Vec<usize> {
        let (mut inside, mut found) = (false, Vec::new());
        for (at, line) in self.lines.iter().enumerate() {
            match &line.kind {
                Kind::Header(name) => inside = name == section,
                _ if inside && line.setting(key).is_some() => found.push(at),
                _ => {}
            }
        }
        found
    }

    /// After the last line of a section that says anything; the section is made where there is none.
    fn end_of(&mut self, name: &str) -> usize {
        let Some(number) = self.sections(name).last().map(|section| section.0[0].section) else {
            let section = self.lines.last().map_or(0, |line| line.section) + 1;
            self.close();
            for (text, kind) in [
                (self.end.to_owned(), Kind::Other),
                (format!("[{name}]{}", self.end), Kind::Header(name.to_owned())),
            ] {
                self.lines.push(Line { text, section, kind });
            }
            return self.lines.len();
        };
        let says = |line: &Line| line.section == number && !line.text.trim().is_empty();
        self.lines.iter().rposition(says).map_or(self.lines.len(), |at| at + 1)
    }

    fn insert(&mut self, at: usize, key: &str, value: String) {
        if at == self.lines.len() {
            self.close();
        }
        let section = self.lines.get(at.saturating_sub(1)).map_or(0, |line| line.section);
        let text = format!("{key}={value}{}", self.end);
        self.lines.insert(at, Line { text, section, kind: Kind::Setting { key: key.to_owned(), value } });
    }

    /// The last line gets its end where it has none.
    fn close(&mut self) {
        if let Some(last) = self.lines.last_mut().filter(|last| !last.text.ends_with('\n')) {
            last.text.push_str(self.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up_and_an_empty_one_begins_anew() {
        let file = File::parse(
            "[Network]\nDNS=192.0.2.1\n#DNS=192.0.2.9\nDNS=\nDNS=192.0.2.2 192.0.2.3\n[Other]\nDNS=x\n",
        );
        assert_eq!(file.words("Network", "DNS"), ["192.0.2.2", "192.0.2.3"]);
        assert_eq!([file.resets("Network", "DNS"), file.resets("Other", "DNS")], [true, false]);
        assert_eq!(file.value("Other", "DNS"), Some("x"));
        assert_eq!(file.value("Other", "Domains"), None);
    }

    #[test]
    fn a_line_goes_on_behind_a_backslash_and_over_a_comment() {
        let text = "[Network]\nDNS=192.0.2.1 \\\n# not this\n  192.0.2.2\nDomains=example.net \\\n";
        let mut file = File::parse(text);
        assert_eq!(file.words("Network", "DNS"), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(file.value("Network", "Domains"), Some("example.net"));
        assert_eq!(file.text(), text);
        file.set("Network", "DNS", "192.0.2.3");
        assert_eq!(file.text(), "[Network]\nDNS=192.0.2.3\nDomains=example.net \\\n");
    }

    #[test]
    fn what_stands_before_a_section_is_passed_over() {
        let file = File::parse("DNS=192.0.2.1\n[Network]\nno value\n=\nDNS=192.0.2.2");
        assert_eq!(file.words("Network", "DNS"), ["192.0.2.2"]);
    }
}
