use std::collections::BTreeMap;

use reinstate_api::Failure;

use super::names::{Place, member_name, place};
use super::{SUMS, invalid, shown};
use crate::tree::{Digest, EntryKind, Index, TreePath};

/// The digests of an archive's files, by domain and path, and the one of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    files: BTreeMap<String, BTreeMap<TreePath, Digest>>,
    members: Digest,
}

/// Begins the last line: a comment to `sha256sum`.
const MEMBERS: &str = "# members ";

impl Sums {
    pub fn get(&self, domain: &str, path: &TreePath) -> Option<Digest> {
        self.files.get(domain)?.get(path).copied()
    }

    /// In the order of domains, then of paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TreePath, Digest)> {
        self.files.iter().flat_map(|(domain, files)| {
            files.iter().map(move |(path, digest)| (domain.as_str(), path, *digest))
        })
    }

    /// Number of files listed of a domain.
    pub fn count(&self, domain: &str) -> u64 {
        self.files.get(domain).map_or(0, |files| files.len() as u64)
    }

    /// Domains of which files are listed.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Of the listing of all members; see the module's description.
    pub(super) fn members(&self) -> Digest {
        self.members
    }

    pub(super) fn of(index: &Index, members: Digest) -> Self {
        let mut files: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for (domain, entry) in index.iter() {
            if let EntryKind::File { sha256, .. } = entry.kind {
                files.entry(domain.to_owned()).or_default().insert(entry.path.clone(), sha256);
            }
        }
        Self { files, members }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        for (domain, path, digest) in self.iter() {
            text.push_str(&format!("{digest}  {}\n", member_name(domain, path)));
        }
        text.push_str(&format!("{MEMBERS}{}\n", self.members));
        text.into_bytes()
    }

    /// Reads lines as `sha256sum` writes them; those with an escaped name are refused, as are the
    /// names that would need it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| invalid(format!("{SUMS} is not UTF-8 at byte {}", error.valid_up_to())))?;
        let body = text.strip_suffix('\n').unwrap_or(text);
        let start = body.rfind('\n').map_or(0, |at| at + 1);
        let members = body[start..].strip_prefix(MEMBERS).and_then(|digest| digest.parse().ok());
        let (Some(members), true) = (members, text.ends_with('\n')) else {
            return Err(invalid(format!("the last line of {SUMS} is not '{MEMBERS}<digest>'")));
        };
        let mut files: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for (number, line) in text[..start].split_terminator('\n').enumerate() {
            let at = number + 1;
            let wrong = || invalid(format!("{SUMS}, line {at}: {} is not '<digest>  <member>'", shown(line)));
            let (digest, name) = line.split_once("  ").ok_or_else(wrong)?;
            let digest: Digest = digest.parse().map_err(|_| wrong())?;
            let Place::Path(domain, path) = place(name)? else {
                return Err(wrong());
            };
            let domain = match files.get_mut(domain) {
                Some(files) => files,
                None => files.entry(domain.to_owned()).or_default(),
            };
            if domain.insert(path, digest).is_some() {
                return Err(invalid(format!("{SUMS}, line {at}: lists {} a second time", shown(name))));
            }
        }
        Ok(Self { files, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[&str]) -> String {
        let digest = Digest::of(b"");
        let mut text: String =
            lines.iter().map(|line| line.replace('D', &digest.to_string()) + "\n").collect();
        text.push_str(&format!("{MEMBERS}{digest}\n"));
        text
    }

    #[test]
    fn the_list_is_read_as_it_was_written() {
        let text = text(&["D  config/a-b/y", "D  config/a/etc/x  y", "D  config/a/ z"]);
        let sums = Sums::parse(text.as_bytes()).unwrap();
        let path = "etc/x  y".parse().unwrap();
        assert_eq!(sums.get("a", &path), Some(Digest::of(b"")));
        assert_eq!((sums.count("a"), sums.count("a-b"), sums.count("b")), (2, 1, 0));
        assert_eq!(Sums::parse(&sums.to_bytes()).unwrap(), sums);
    }

    #[test]
    fn a_line_that_sha256sum_would_not_read_plainly_is_refused() {
        for bad in [
            "\\D  config/a/x\\ny",
            "D *config/a/x",
            "D config/a/x",
            " D  config/a/x",
            "D  config/a/x\r",
            "D  config/a",
            "D  config/a/",
            "D  config/a/../b",
            "D  /config/a/b",
            "D  config/A/b",
            "D  manifest.toml",
            "# comment",
            "",
            "SHA256 (config/a/x) = D",
        ] {
            assert!(Sums::parse(text(&[bad]).as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_listed_twice_is_refused() {
        let failure = Sums::parse(text(&["D  config/a/x", "D  config/a/x"]).as_bytes()).unwrap_err();
        assert!(failure.message.contains("line 2") && failure.message.contains("config/a/x"), "{failure}");
    }

    #[test]
    fn a_list_without_its_last_line_is_refused() {
        let whole = text(&["D  config/a/x"]);
        for end in 0..whole.len() {
            assert!(Sums::parse(&whole.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
