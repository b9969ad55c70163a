//! Who may log in from where, and which servers are known.

use reinstate_api::{Code, Failure, one_line};

use crate::fetch::known_hosts::{host_name, names_host};
use crate::tree::TreePath;

/// What the file of the access list holds; none where everybody may come from everywhere.
pub fn access_list(networks: &[String]) -> Option<String> {
    let lines: String = networks.iter().map(|network| format!("AllowUsers *@{network}\n")).collect();
    (!lines.is_empty()).then(|| format!("# Made by `configure ssh-access-list`.\n{lines}"))
}

/// sshd lets in whom any of its `AllowUsers` lets in: a list beside another one would keep nobody out.
///
/// # Errors
/// `validation-failed`, naming the line.
pub fn refuse_other_lists(path: &TreePath, text: &str) -> Result<(), Failure> {
    let says = |line: &str| {
        let word = line.trim_start().split([' ', '\t', '=']).next().unwrap_or_default();
        word.trim_matches('"').eq_ignore_ascii_case("AllowUsers")
    };
    let Some((at, line)) = text.lines().enumerate().find(|(_, line)| says(line)) else { return Ok(()) };
    let line = one_line(line.trim());
    let why =
        format!("{path}, line {} has an access list of its own, '{line}', which would still hold", at + 1);
    Err(Failure::new(Code::ValidationFailed, why)
        .hint("sshd lets in whom either of the lists lets in; take that line away first"))
}

/// Is this a key of this algorithm?
pub fn key(algorithm: &str, key: &str) -> Result<(), Failure> {
    let parsed = russh::keys::PublicKey::from_openssh(&format!("{algorithm} {key}"));
    // After the key a comment would be taken too, with whatever lines are in it.
    let is_bare = key.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
    match parsed {
        Ok(parsed) if is_bare && parsed.algorithm().as_str() == algorithm => Ok(()),
        _ => Err(Failure::new(
            Code::BadRequest,
            format!("'{}' is no key of the algorithm '{}'", one_line(key), one_line(algorithm)),
        )
        .hint("both are on one line of `ssh-keyscan HOST`")),
    }
}

/// The servers' keys with this one for the host, in place of another one of the same algorithm.
pub fn trust(text: &str, host: &str, port: u16, algorithm: &str, key: &str) -> String {
    let name = host_name(host, port).to_lowercase();
    let new = format!("{name} {algorithm} {key}\n");
    let (mut whole, mut there) = (String::new(), false);
    for line in text.split_inclusive('\n') {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            [named, kind, base64, ..] if named == name && kind == algorithm => {
                if base64 == key && !there {
                    whole.push_str(line);
                    there = true;
                }
            }
            _ => whole.push_str(line),
        }
    }
    if !there {
        close(&mut whole);
        whole.push_str(&new);
    }
    whole
}

/// The servers' keys without this host; none where it is not named. What is revoked stays so, and so do patterns.
pub fn distrust(text: &str, host: &str, port: u16) -> Option<String> {
    let name = host_name(host, port).to_lowercase();
    let (mut whole, mut found) = (String::new(), false);
    for line in text.split_inclusive('\n') {
        let hosts = line.split_whitespace().next().unwrap_or_default();
        let is_plain = !hosts.starts_with(['#', '@']) && !hosts.is_empty();
        let is_hashed = is_plain && hosts.starts_with('|') && names_host(hosts, &name);
        let others: Vec<_> = hosts.split(',').filter(|other| other.to_lowercase() != name).collect();
        let is_named = is_plain && others.len() < hosts.split(',').count();
        if is_hashed || is_named && others.is_empty() {
            found = true;
        } else if is_named {
            found = true;
            whole.push_str(&line.replacen(hosts, &others.join(","), 1));
        } else {
            whole.push_str(line);
        }
    }
    found.then_some(whole)
}

fn close(text: &mut String) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_list_is_a_line_for_each_network_and_none_is_no_file() {
        let list = access_list(&["192.0.2.0/24".into(), "2001:db8::/32".into()]).unwrap();
        assert!(list.ends_with("\nAllowUsers *@192.0.2.0/24\nAllowUsers *@2001:db8::/32\n"), "{list}");
        assert_eq!(access_list(&[]), None);
    }

    #[test]
    fn another_list_is_found_however_it_is_spelt() {
        let path: TreePath = "etc/ssh/sshd_config".parse().unwrap();
        for line in
            ["AllowUsers admin", "  allowusers=admin", "\"AllowUsers\" a", "Match all\n\tALLOWUSERS\ta"]
        {
            let failure = refuse_other_lists(&path, line).unwrap_err();
            assert!(failure.message.contains("etc/ssh/sshd_config, line"), "{failure}");
        }
        refuse_other_lists(&path, "# AllowUsers admin\nAllowGroups x\nDenyUsers y\n").unwrap();
    }

    #[test]
    fn a_key_brings_no_line_of_its_own_into_the_file() {
        let good = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        key("ssh-ed25519", good).unwrap();
        key("ssh-rsa", good).unwrap_err();
        for more in [" comment", " a\n* ssh-ed25519 AAAA", "\n", " ", "\t"] {
            let failure = key("ssh-ed25519", &format!("{good}{more}")).unwrap_err();
            assert_eq!(failure.code, Code::BadRequest, "{more:?}");
        }
    }

    const KEYS: &str = "# servers\nbackup.example,192.0.2.40 ssh-ed25519 AAAA1 old\n@revoked backup.example ssh-ed25519 AAAA9\n\
        [backup.example]:2222 ssh-ed25519 AAAA2\n*.example ssh-rsa AAAA3";

    #[test]
    fn a_trusted_host_is_added_once_and_replaces_its_key_of_the_same_algorithm() {
        let added = trust(KEYS, "Backup.Example", 22, "ssh-ed25519", "AAAA5");
        assert_eq!(added, format!("{KEYS}\nbackup.example ssh-ed25519 AAAA5\n"));
        assert_eq!(trust(&added, "backup.example", 22, "ssh-ed25519", "AAAA5"), added);
        let other = trust(&added, "backup.example", 22, "ssh-ed25519", "AAAA6");
        assert_eq!(other, added.replace("AAAA5", "AAAA6"));
        let port = trust(KEYS, "backup.example", 2222, "ssh-ed25519", "AAAA7");
        assert!(
            port.contains("[backup.example]:2222 ssh-ed25519 AAAA7\n") && !port.contains("AAAA2"),
            "{port}"
        );
    }

    #[test]
    fn a_host_goes_alone_and_what_is_revoked_stays_revoked() {
        let gone = distrust(KEYS, "backup.example", 22).unwrap();
        assert_eq!(gone, KEYS.replace("backup.example,192.0.2.40", "192.0.2.40"));
        let gone = distrust(KEYS, "backup.example", 2222).unwrap();
        assert_eq!(gone, KEYS.replace("[backup.example]:2222 ssh-ed25519 AAAA2\n", ""));
        assert_eq!(distrust(KEYS, "x.example", 22), None, "a pattern is not the host");
        let hashed = "|1|izHizXpXFWTzlR/Cdk/o3w5areo=|lE6ccPQsoXEmWzTItkHJATH/xUo= ssh-ed25519 AAAA1\n";
        assert_eq!(distrust(hashed, "192.0.2.61", 22).unwrap(), "");
    }
}
