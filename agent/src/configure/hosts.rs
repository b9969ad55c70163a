//! The line of `/etc/hosts` that names this appliance.

/// The address that a host without a fixed one has its own name under.
const OWN: &str = "127.0.1.1";

/// Where there is such a line, it names the host as it is called now: whole, and without its domain.
pub fn rename(text: &str, hostname: &str) -> String {
    let short = hostname.split('.').next().unwrap_or(hostname);
    let names = if short == hostname { short.to_owned() } else { format!("{hostname} {short}") };
    let renamed = |line: &str| {
        let entry = line.split('#').next().unwrap_or(line);
        if entry.split_whitespace().next() != Some(OWN) {
            return line.to_owned();
        }
        let comment = line[entry.len()..].trim_end();
        let comment = if comment.is_empty() { String::new() } else { format!(" {comment}") };
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
        assert_eq!(rename(text, "fw.example"), expected);
        assert_eq!(rename(expected, "fw.example"), expected);
        assert_eq!(rename("127.0.1.1 a\r\n", "fw"), "127.0.1.1 fw\r\n");
        assert_eq!(rename("::1 localhost", "fw"), "::1 localhost");
    }
}
