//! The types of arguments: what a typed word has to be to stand for one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use reinstate_api::{Access, CONFIRM_WITHIN, HOSTNAME, SERVERS, Secret};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name, an IPv4 address or an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
}

const SSH: u16 = 22;

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT` or a bare IPv6 address.
pub fn endpoint(text: &str) -> Option<Endpoint> {
    let ipv6 = |text: &str| text.parse::<Ipv6Addr>().is_ok().then(|| text.to_owned());
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        let port = if after.is_empty() { SSH } else { port(after.strip_prefix(':')?)? };
        return Some(Endpoint { host: ipv6(address)?, port });
    }
    if let Some(host) = ipv6(text) {
        return Some(Endpoint { host, port: SSH });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, number)) => (host, port(number)?),
        None => (text, SSH),
    };
    host_name(host).then(|| Endpoint { host: host.to_owned(), port })
}

fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

fn host_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text
            .split('.')
            .enumerate()
            .all(|(i, label)| i > 0 && label.is_empty() && text.ends_with('.') || is_label(label))
        && !text.ends_with("..")
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A name or an address.
pub fn host(text: &str) -> Option<String> {
    (text.parse::<IpAddr>().is_ok() || host_name(text)).then(|| text.to_owned())
}

/// The name of an appliance.
pub fn hostname(text: &str) -> Option<String> {
    domain(text).filter(|name| name.len() <= HOSTNAME)
}

/// A name with or without dots.
pub fn domain(text: &str) -> Option<String> {
    let named = host_name(text) && !text.ends_with('.') && !text.contains('_');
    (named && text.parse::<Ipv4Addr>().is_err() && !text.split('.').any(|label| label.ends_with('-')))
        .then(|| text.to_owned())
}

/// A netmask as its prefix length, or that length itself, 1 to 32.
pub fn netmask(text: &str) -> Option<u8> {
    let length = match text.parse::<Ipv4Addr>() {
        Ok(mask) => {
            let bits = mask.to_bits();
            (bits.leading_ones() + bits.trailing_zeros().min(32) == 32).then(|| bits.leading_ones())?
        }
        Err(_) => number(text, 1..=32)?,
    };
    u8::try_from(length).ok().filter(|length| (1..=32).contains(length))
}

/// The prefix length of an IPv6 address.
pub fn prefix6(text: &str) -> Option<u8> {
    number(text.strip_prefix('/').unwrap_or(text), 1..=128).and_then(|length| u8::try_from(length).ok())
}

/// A number in digits.
pub fn number(text: &str, range: RangeInclusive<u32>) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && range.contains(number))
}

/// Values between commas, at most 64; `none` for none.
fn list<T>(text: &str, one: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text == "none" {
        return Some(Vec::new());
    }
    let values: Option<Vec<T>> = text.split(',').map(|value| one(value.trim())).collect();
    values.filter(|values| values.len() <= 64)
}

/// DNS servers between commas.
pub fn servers(text: &str) -> Option<Vec<IpAddr>> {
    list(text, |one| one.parse().ok()).filter(|servers| servers.len() <= SERVERS)
}

/// Search domains between commas.
pub fn domains(text: &str) -> Option<Vec<String>> {
    list(text, domain).filter(|domains| domains.len() <= SERVERS)
}

/// Networks between commas; `any` for no limit.
pub fn networks(text: &str) -> Option<Vec<String>> {
    let network = |one: &str| {
        let (address, length) = one.split_once('/').map_or((one, None), |(a, l)| (a, Some(l)));
        let most = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        match length {
            Some(length) => number(length, 0..=most).map(|_| one.to_owned()),
            None => Some(format!("{one}/{most}")),
        }
    };
    if text == "any" { Some(Vec::new()) } else { list(text, network).filter(|list| !list.is_empty()) }
}

pub fn access(word: &str) -> Option<Access> {
    [Access::Basic, Access::Config].into_iter().find(|access| access.as_str() == word)
}

/// The name of an account, as Debian takes it.
pub fn account(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let named = text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    (named && text.bytes().all(plain)).then(|| text.to_owned())
}

/// One word of plain characters.
pub fn word(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    ((1..=64).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(plain))
        .then(|| text.to_owned())
}

/// The name of a stored configuration: no number.
pub fn configuration_name(text: &str) -> Option<String> {
    word(text).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains('@'))
}

/// What is typed at the manager and here.
pub fn registration_key(text: &str) -> Option<Secret> {
    let printable = text.bytes().all(|b| b.is_ascii_graphic());
    ((1..=64).contains(&text.len()) && printable).then(|| Secret::new(text.to_owned()))
}

pub fn base64(text: &str) -> Option<String> {
    let digit = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    ((16..=2048).contains(&text.len()) && text.bytes().all(digit)).then(|| text.to_owned())
}

/// A device's UUID.
pub fn uuid(text: &str) -> Option<String> {
    let digits: Vec<usize> = text.split('-').map(str::len).collect();
    let hex = text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    (hex && digits == [8, 4, 4, 4, 12]).then(|| text.to_owned())
}

/// Minutes for a confirmation.
pub fn minutes(text: &str) -> Option<u32> {
    text.parse().ok().filter(|minutes| CONFIRM_WITHIN.contains(minutes))
}

/// A user on a server.
pub fn user(text: &str) -> Option<String> {
    (plain(text) && text.len() <= 256 && !text.starts_with('-')).then(|| text.to_owned())
}

/// A path on a server.
pub fn path(text: &str) -> Option<String> {
    (plain(text) && text.len() <= 4096).then(|| text.to_owned())
}

/// A file name without path parts.
pub fn file(text: &str) -> Option<String> {
    (plain(text) && text.len() <= 255 && !text.contains('/') && text != "." && text != "..")
        .then(|| text.to_owned())
}

fn plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// A host key's fingerprint, as OpenSSH prints it: `SHA256:` and 43 base64 characters (padding is
/// taken and dropped), or MD5 as 32 hexadecimal digits, with or without colons and `MD5:`.
pub fn fingerprint(text: &str) -> Option<String> {
    if let Some(hash) = text.strip_prefix("SHA256:") {
        let hash = hash.strip_suffix('=').unwrap_or(hash);
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        return (hash.len() == 43 && hash.bytes().all(base64)).then(|| format!("SHA256:{hash}"));
    }
    let digits = text.strip_prefix("MD5:").unwrap_or(text);
    let pairs: Vec<&str> = match digits.contains(':') {
        true => digits.split(':').collect(),
        false if digits.is_ascii() => {
            (0..digits.len()).step_by(2).map(|i| &digits[i..digits.len().min(i + 2)]).collect()
        }
        false => return None,
    };
    let hex = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    (pairs.len() == 16 && pairs.iter().all(hex))
        .then(|| format!("MD5:{}", pairs.join(":").to_ascii_lowercase()))
}

/// The path of `file` on the server: `path` itself where it ends with that name, else below it.
pub fn remote_path(path: &str, file: Option<&str>) -> Option<String> {
    match file {
        Some(file) if path.rsplit('/').next() == Some(file) => Some(path.to_owned()),
        Some(file) if path.ends_with('/') => Some(format!("{path}{file}")),
        Some(file) => Some(format!("{path}/{file}")),
        None => {
            let last = path.rsplit('/').next().unwrap_or(path);
            (!matches!(last, "" | "." | ".." | "~")).then(|| path.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_name_or_an_address_with_or_without_a_port() {
        for (text, host, port) in [
            ("backup.example.com", "backup.example.com", 22),
            ("backup.example.com.", "backup.example.com.", 22),
            ("192.0.2.9", "192.0.2.9", 22),
            ("192.0.2.9:2222", "192.0.2.9", 2222),
            ("2001:db8::1", "2001:db8::1", 22),
            ("[2001:db8::1]", "2001:db8::1", 22),
            ("[2001:db8::1]:2222", "2001:db8::1", 2222),
        ] {
            let host = host.to_owned();
            assert_eq!(endpoint(text), Some(Endpoint { host, port }), "{text}");
        }
        for text in [
            "",
            ":22",
            "host:",
            "host:0",
            "host:65536",
            "host:+22",
            "a..b",
            "..",
            ".",
            "-oProxy",
            "[192.0.2.9]",
            "[2001:db8::1",
            "[2001:db8::1]22",
            "2001:db8::1::",
            "a b",
            "a/b",
            "user@h",
            "host\u{1b}",
        ] {
            assert_eq!(endpoint(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_taken_as_openssh_prints_it() {
        let hash = "n".repeat(43);
        let sha = format!("SHA256:{hash}");
        assert_eq!(fingerprint(&sha), Some(sha.clone()));
        assert_eq!(fingerprint(&format!("{sha}=")), Some(sha.clone()));
        let md5 = "MD5:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff";
        assert_eq!(fingerprint(md5).as_deref(), Some(md5));
        assert_eq!(fingerprint("00112233445566778899AABBCCDDEEFF").as_deref(), Some(md5));
        for text in [
            "",
            "SHA256:short",
            &format!("{sha}n"),
            &hash,
            "MD5:00:11",
            "0011223344é",
            &format!("sha256:{hash}"),
        ] {
            assert_eq!(fingerprint(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_netmask_is_a_mask_or_a_length() {
        for (text, length) in [("255.255.255.0", 24), ("24", 24), ("255.255.255.255", 32), ("128.0.0.0", 1)] {
            assert_eq!(netmask(text), Some(length), "{text}");
        }
        for text in ["255.0.255.0", "0.0.0.0", "0", "33", "+24", "", "255.255.255"] {
            assert_eq!(netmask(text), None, "{text}");
        }
        assert_eq!(
            (prefix6("64"), prefix6("/128"), prefix6("129"), prefix6("0")),
            (Some(64), Some(128), None, None)
        );
    }

    #[test]
    fn lists_stand_between_commas() {
        let addresses = |text| list(text, |one| one.parse::<IpAddr>().ok()).map(|list| list.len());
        assert_eq!(addresses("192.0.2.1,2001:db8::1"), Some(2));
        assert_eq!(addresses("none"), Some(0));
        assert_eq!((addresses(""), addresses("192.0.2.1,"), addresses("a")), (None, None, None));
        assert_eq!(networks("192.0.2.0/24,2001:db8::/32,192.0.2.9").unwrap().last().unwrap(), "192.0.2.9/32");
        assert_eq!(networks("any"), Some(Vec::new()));
        assert_eq!((networks("none"), networks("192.0.2.0/33"), networks("*")), (None, None, None));
    }

    #[test]
    fn names_are_plain() {
        for text in ["fw", "fw-a.example.com"] {
            assert!(hostname(text).is_some(), "{text}");
        }
        for text in ["", "fw_a", "-fw", "fw-", "fw.", "192.0.2.1", "a b", "fw;reboot", &"a".repeat(64)] {
            assert_eq!(hostname(text), None, "{text}");
        }
        for text in ["root:x", "Admin", "-x", "a/b", "", "a b", &"a".repeat(33)] {
            assert_eq!(account(text), None, "{text}");
        }
        assert_eq!(configuration_name("7"), None);
        assert_eq!(configuration_name("before-7.4").as_deref(), Some("before-7.4"));
    }

    #[test]
    fn a_file_name_has_no_path_parts() {
        for text in ["", ".", "..", "a/b", "/a", "a\nb", "a\u{1b}[2Jb"] {
            assert_eq!(file(text), None, "{text:?}");
        }
        assert_eq!(file("fw a.tar").as_deref(), Some("fw a.tar"));
    }

    #[test]
    fn the_path_is_the_folder_or_the_whole_path_of_the_file() {
        let on = |path, file| remote_path(path, file);
        assert_eq!(on("/b", Some("f.tar")).as_deref(), Some("/b/f.tar"));
        assert_eq!(on("/b/", Some("f.tar")).as_deref(), Some("/b/f.tar"));
        assert_eq!(on("/", Some("f.tar")).as_deref(), Some("/f.tar"));
        assert_eq!(on("/b/f.tar", Some("f.tar")).as_deref(), Some("/b/f.tar"));
        assert_eq!(on("/b/xf.tar", Some("f.tar")).as_deref(), Some("/b/xf.tar/f.tar"));
        assert_eq!(on("f.tar", Some("f.tar")).as_deref(), Some("f.tar"));
        assert_eq!(on("/b/f.tar", None).as_deref(), Some("/b/f.tar"));
        assert_eq!(on("/b/", None), None);
        assert_eq!(on("/b/..", None), None);
    }
}
