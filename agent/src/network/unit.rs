//! The files that systemd's programs are configured by: sections of `key=value`.

/// The longest value that is looked at.
const MAX_VALUE: usize = 4096;

/// One file, in its order.
#[derive(Debug, Default)]
pub(super) struct Unit {
    sections: Vec<Section>,
}

#[derive(Debug)]
pub(super) struct Section {
    name: String,
    entries: Vec<(String, String)>,
}

impl Unit {
    pub fn parse(text: &str) -> Self {
        let mut unit = Self::default();
        let mut begun = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            begun.push_str(line);
            // It goes on in the next line.
            if begun.ends_with('\\') {
                begun.pop();
                begun.push(' ');
                continue;
            }
            let whole = std::mem::take(&mut begun);
            let line = whole.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                unit.sections.push(Section { name: name.to_owned(), entries: Vec::new() });
            } else if let (Some((key, value)), Some(section)) =
                (line.split_once('='), unit.sections.last_mut())
            {
                let value = value.trim();
                if value.len() <= MAX_VALUE {
                    section.entries.push((key.trim().to_owned(), value.to_owned()));
                }
            }
        }
        unit
    }

    pub fn sections<'s, 'n>(&'s self, name: &'n str) -> impl Iterator<Item = &'s Section> + use<'s, 'n> {
        self.sections.iter().filter(move |section| section.name == name)
    }

    /// The words of every such line, in all sections of that name.
    pub fn words(&self, section: &str, key: &str) -> Vec<&str> {
        let mut words = Vec::new();
        for section in self.sections(section) {
            section.add_words(key, &mut words);
        }
        words
    }

    /// Whether such a line takes those of earlier files away.
    pub fn resets(&self, section: &str, key: &str) -> bool {
        self.sections(section).any(|section| section.entries.contains(&(key.to_owned(), String::new())))
    }

    /// What the last such line says.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.sections(section).filter_map(|section| section.last(key)).last()
    }
}

impl Section {
    pub fn last(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A line without a value takes those before it away.
    fn add_words<'a>(&'a self, key: &str, words: &mut Vec<&'a str>) {
        for (_, value) in self.entries.iter().filter(|(name, _)| name == key) {
            if value.is_empty() {
                words.clear();
            }
            words.extend(value.split_whitespace());
        }
    }
}

/// As systemd reads it.
pub(super) fn is_yes(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up_and_an_empty_one_begins_anew() {
        let unit = Unit::parse(
            "[Network]\nDNS=192.0.2.1\n#DNS=192.0.2.9\nDNS=\nDNS=192.0.2.2 192.0.2.3\n[Other]\nDNS=x\n",
        );
        assert_eq!(unit.words("Network", "DNS"), ["192.0.2.2", "192.0.2.3"]);
        assert_eq!(unit.last("Other", "DNS"), Some("x"));
        assert_eq!(unit.last("Other", "Domains"), None);
    }

    #[test]
    fn a_line_goes_on_behind_a_backslash() {
        let unit =
            Unit::parse("[Network]\nDNS=192.0.2.1 \\\n# not this\n  192.0.2.2\nDomains=example.net\\\n");
        assert_eq!(unit.words("Network", "DNS"), ["192.0.2.1", "192.0.2.2"]);
    }

    #[test]
    fn what_stands_before_a_section_and_what_is_endless_is_passed_over() {
        let text =
            format!("DNS=192.0.2.1\n[Network]\nno value\n=\nDNS={}\nDNS=192.0.2.2", "9".repeat(10_000));
        assert_eq!(Unit::parse(&text).words("Network", "DNS"), ["192.0.2.2"]);
    }
}
