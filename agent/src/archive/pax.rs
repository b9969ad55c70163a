//! Extended headers: the few pax records that a name, an owner or a size may need.

use reinstate_api::Failure;

use super::{invalid, shown};

/// Room for the longest path, the longest target, two owners and three times.
pub(super) const MAX_BYTES: u64 = 4096;

/// What an extended header says of the member behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub path: Option<String>,
    pub link: Option<String>,
    pub owner: Option<String>,
    pub group: Option<String>,
    pub size: Option<u64>,
}

impl Records {
    /// Takes `<length> <key>=<value>⏎` lines; times and numeric owners are checked and forgotten.
    pub fn parse(body: &[u8], at: u64) -> Result<Self, Failure> {
        let wrong = |why: String| invalid(format!("the pax header at byte {at} {why}"));
        let mut rest = std::str::from_utf8(body).map_err(|_| wrong("is not UTF-8".into()))?;
        let mut records = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        while !rest.is_empty() {
            let cut = || wrong(format!("holds a record of a wrong length: {}", shown(rest)));
            let (digits, _) = rest.split_once(' ').ok_or_else(cut)?;
            let length = decimal(digits).and_then(|length| usize::try_from(length).ok()).ok_or_else(cut)?;
            let record =
                rest.get(digits.len() + 1..length).and_then(|r| r.strip_suffix('\n')).ok_or_else(cut)?;
            rest = &rest[length..];
            let (key, value) = record
                .split_once('=')
                .ok_or_else(|| wrong(format!("holds {}, which is not '<key>=<value>'", shown(record))))?;
            if seen.contains(&key) {
                return Err(wrong(format!("holds the key {} twice", shown(key))));
            }
            seen.push(key);
            let bad = || wrong(format!("holds {}, which is no value of that key", shown(record)));
            match key {
                "path" => records.path = Some(value.to_owned()),
                "linkpath" => records.link = Some(value.to_owned()),
                "uname" => records.owner = Some(value.to_owned()),
                "gname" => records.group = Some(value.to_owned()),
                "size" => records.size = Some(decimal(value).ok_or_else(bad)?),
                "uid" | "gid" => drop(decimal(value).ok_or_else(bad)?),
                "mtime" | "atime" | "ctime" if is_time(value) => {}
                "mtime" | "atime" | "ctime" => return Err(bad()),
                _ => {
                    return Err(wrong(format!(
                        "holds the key {}, which an archive has no use for",
                        shown(key)
                    )));
                }
            }
        }
        Ok(records)
    }

    /// The body of an extended header; empty where nothing has to be said.
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = self.size.map(|size| size.to_string());
        let said = [
            ("path", &self.path),
            ("linkpath", &self.link),
            ("uname", &self.owner),
            ("gname", &self.group),
            ("size", &size),
        ];
        said.into_iter()
            .filter_map(|(key, value)| Some(record(key, value.as_deref()?)))
            .collect::<String>()
            .into_bytes()
    }
}

/// The length counts its own digits.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

/// Digits alone: no sign, no space, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

/// Seconds, with a fraction where the file system has one.
fn is_time(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    [seconds, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        for length in [1, 88, 89, 90, 91, 92, 987, 988, 989, 990, 991, 1000] {
            let records = Records {
                path: Some("ü".repeat(length)),
                link: Some("a=b".into()),
                size: Some(u64::MAX),
                ..Records::default()
            };
            assert_eq!(Records::parse(&records.to_bytes(), 0).unwrap(), records, "{length}");
        }
        assert_eq!(record("path", "x"), "9 path=x\n");
    }

    #[test]
    fn times_are_let_through_and_say_nothing() {
        let body =
            [record("mtime", "1700000000.123"), record("atime", "-1"), record("uid", "70000")].concat();
        assert_eq!(Records::parse(body.as_bytes(), 0).unwrap(), Records::default());
    }

    #[test]
    fn a_record_that_two_readers_could_take_differently_is_refused() {
        for bad in [
            "9 path=x",
            "011 path=x\n",
            "+10 path=x\n",
            "8 path=x\n",
            "12 path=x\n",
            "9 path=xz",
            "9 path=x\nz",
            "0 path=x\n",
            "99999999999999999999 path=x\n",
            "7 path\n",
            "9 path=x\n9 path=y\n",
            "11 size=-1\n",
            "11 size=+1\n",
            "11 size=01\n",
            "12 size=0x1\n",
            "29 size=99999999999999999999\n",
            "11 mtime=x\n",
            "10 mtime=\n",
            "\n",
        ] {
            assert!(Records::parse(bad.as_bytes(), 0).is_err(), "{bad:?}");
        }
        assert!(Records::parse(b"11 path=\xff\xfe\n", 0).is_err());
    }
}
