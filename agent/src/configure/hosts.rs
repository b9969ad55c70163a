//! The line of `/etc/hosts` that names this appliance.

/// The address that a host without a fixed one has its own name under.
const OWN: &str = "127.0.1.1";

/// Where there is such a line, it names the host as it is called now: whole, and without its domain. Names that were not
/// the host's own stay behind these.
pub fn rename(text: &str, old: &str, hostname: &str) -> String {
    let short_of = |name: &str| name.split('.').next().unwrap_or(name).to_lowercase();
    let short = hostname.split('.').next().unwrap_or(hostname);
    let names = if short == hostname { short.to_owned() } else { format!("{hostname} {short}") };
    let is_own = |name: &&str| {
        let same = |other: &str| name.eq_ignore_ascii_case(other);
        // Where the host is called without its domain, the line may have that in front.
        let with_domain = !old.contains('.') && short_of(name) == old.to_lowercase();
        with_domain || [old, &short_of(old), hostname, short].into_iter().any(same)
    };
    let renamed = |line: &str| {
        let entry = line.split('#').next().unwrap_or(line);
        if entry.split_whitespace().next() != Some(OWN) {
            return line.to_owned();
        }
        let comment = line[entry.len()..].trim_end();
        let comment = if comment.is_empty() { String::new() } else { format!(" {comment}") };
        let others = entry.split_whitespace().skip(1).filter(|name| !is_own(name));
        let names = others.fold(names.clone(), |names, other| names + " " + other);
        format!("{OWN} {names}{comment}{}", &line[line.trim_end_matches(['\r', '\n']).len()..])
    };
    text.split_inclusive('\n').map(renamed).collect()
}

#[cfg(test)]
mod tests {
    use super::rename;

    #[test]
    fn only_the_line_of_this_host_is_renamed() {
        let text = "127.0.0.1 localhost\n127.0.1.1\told old.example # ours\n# 127.0.1.1 x\n192.0.2.1 old\n";
        let expected = "127.0.0.1 localhost\n127.0.1.1 fw.example fw # ours\n# 127.0.1.1 x\n192.0.2.1 old\n";
        assert_eq!(rename(text, "old.example", "fw.example"), expected);
        assert_eq!(rename(expected, "fw.example", "fw.example"), expected);
        assert_eq!(rename("127.0.1.1 a\r\n", "a", "fw"), "127.0.1.1 fw\r\n");
        assert_eq!(rename("::1 localhost", "a", "fw"), "::1 localhost");
    }

    #[test]
    fn names_of_something_else_on_the_line_stay() {
        let line = "127.0.1.1 old.example Old portal.example older\n";
        for old in ["old", "old.example", "OLD.example"] {
            assert_eq!(rename(line, old, "fw"), "127.0.1.1 fw portal.example older\n", "{old}");
        }
        assert_eq!(rename(line, "older", "old.example"), "127.0.1.1 old.example old portal.example\n");
    }
}
