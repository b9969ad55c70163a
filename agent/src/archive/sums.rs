//! `SHA256SUMS`: for `sha256sum` a list of digests, for the agent the list of all that will come.

use std::collections::BTreeMap;

use reinstate_api::Failure;

use super::names::{Place, is_link_target, is_owner_name, member_name, place};
use super::{Limits, MANIFEST, Manifest, SUMS, invalid, shown, too_large};
use crate::tree::{Digest, Entry, EntryKind, Index, TreePath};

/// Every member that an archive holds, by domain and path, as `SHA256SUMS` lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    index: Index,
}

impl Sums {
    /// The digest of a file; none of what is not listed or is no file.
    pub fn get(&self, domain: &str, path: &TreePath) -> Option<Digest> {
        match self.index.get(domain, path)?.kind {
            EntryKind::File { sha256, .. } => Some(sha256),
            EntryKind::Folder | EntryKind::Link { .. } => None,
        }
    }

    /// Files and their digests, in the order of domains, then of paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TreePath, Digest)> {
        self.index.iter().filter_map(|(domain, entry)| match entry.kind {
            EntryKind::File { sha256, .. } => Some((domain, &entry.path, sha256)),
            EntryKind::Folder | EntryKind::Link { .. } => None,
        })
    }

    /// All that will come: the tree that a reading without an error ends with.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The digests, then a comment a member:
    /// `# <kind>⇥<mode>⇥<owner>⇥<group>⇥<size or target>⇥<member>`.
    pub fn write(index: &Index) -> Vec<u8> {
        let mut digests = String::new();
        let mut members = String::new();
        for (domain, entry) in index.iter() {
            let name = member_name(domain, &entry.path);
            let (kind, detail) = match &entry.kind {
                EntryKind::File { size, sha256, .. } => {
                    digests.push_str(&format!("{sha256}  {name}\n"));
                    ("file", size.to_string())
                }
                EntryKind::Folder => ("folder", String::new()),
                EntryKind::Link { target } => ("link", target.clone()),
            };
            let Entry { mode, owner, group, .. } = entry;
            members.push_str(&format!("# {kind}\t{mode:04o}\t{owner}\t{group}\t{detail}\t{name}\n"));
        }
        digests.push_str(&members);
        digests.into_bytes()
    }

    /// Reads lines as [`Sums::write`] makes them, so that names which `sha256sum` would escape are
    /// refused, and holds them against the manifest and the limits.
    ///
    /// # Errors
    ///
    /// `archive-too-large` beyond a limit, `archive-invalid` for everything else.
    pub fn parse(bytes: &[u8], manifest: &Manifest, limits: &Limits) -> Result<Self, Failure> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| invalid(format!("{SUMS} is not UTF-8 at byte {}", error.valid_up_to())))?;
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(invalid(format!("{SUMS} ends in the middle of a line")));
        }
        let mut digests = BTreeMap::new();
        let mut index = Index::default();
        let mut members = 0;
        for (number, line) in text.split_terminator('\n').enumerate() {
            let at = format!("{SUMS}, line {}", number + 1);
            if let Some(member) = line.strip_prefix("# ") {
                members += 1;
                if members > limits.files {
                    return Err(too_large(format_args!("members in {at}"), members, limits.files));
                }
                add_member(&mut index, member, &mut digests, manifest, limits, &at)?;
            } else {
                let (digest, name) = digest_line(line)
                    .ok_or_else(|| invalid(format!("{at}: {} is not '<digest>  <member>'", shown(line))))?;
                if digests.insert(name, digest).is_some() {
                    return Err(twice(&at, name));
                }
            }
        }
        if let Some(name) = digests.keys().next() {
            return Err(invalid(format!("{SUMS} has a digest of {}, but no such file", shown(name))));
        }
        check_folders(&index, limits)?;
        check_totals(&index, manifest)?;
        Ok(Self { index })
    }
}

fn digest_line(line: &str) -> Option<(Digest, &str)> {
    let (digest, name) = line.split_once("  ")?;
    Some((digest.parse().ok()?, name))
}

fn add_member<'t>(
    index: &mut Index,
    line: &'t str,
    digests: &mut BTreeMap<&'t str, Digest>,
    manifest: &Manifest,
    limits: &Limits,
    at: &str,
) -> Result<(), Failure> {
    let wrong = || invalid(format!("{at}: {} describes no member", shown(line)));
    let mut fields = line.split('\t');
    let mut field = || fields.next().ok_or_else(wrong);
    let (kind, mode, owner, group, detail, name) =
        (field()?, field()?, field()?, field()?, field()?, field()?);
    let Place::Path(domain, path) = place(name)? else {
        return Err(wrong());
    };
    let kind = match kind {
        "file" => {
            let size =
                detail.parse().ok().filter(|size: &u64| size.to_string() == detail).ok_or_else(wrong)?;
            let no_digest = || invalid(format!("{at}: there is no digest of {}", shown(name)));
            EntryKind::File { size, sha256: digests.remove(name).ok_or_else(no_digest)?, sealed: false }
        }
        "folder" if detail.is_empty() => EntryKind::Folder,
        "link" if mode == "0777" && is_link_target(detail) => EntryKind::Link { target: detail.to_owned() },
        _ => return Err(wrong()),
    };
    let mode = match mode.as_bytes() {
        [b'0', b'0'..=b'7', b'0'..=b'7', b'0'..=b'7'] => u32::from_str_radix(mode, 8).map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    if !is_owner_name(owner) || !is_owner_name(group) || fields.next().is_some() {
        return Err(wrong());
    }
    let depth = path.as_str().split('/').count();
    if depth > limits.depth {
        return Err(too_large(format_args!("levels of {}", shown(name)), depth as u64, limits.depth as u64));
    }
    if manifest.domain(domain).is_none() {
        return Err(super::undeclared(name, domain));
    }
    if index.get(domain, &path).is_some() {
        return Err(twice(at, name));
    }
    index.insert(domain, Entry { path, mode, owner: owner.to_owned(), group: group.to_owned(), kind });
    Ok(())
}

fn twice(at: &str, name: &str) -> Failure {
    invalid(format!("{at} lists {} a second time", shown(name)))
}

/// Whatever is listed above a member is a folder; what is not listed is one all the same, and counts.
fn check_folders(index: &Index, limits: &Limits) -> Result<(), Failure> {
    let (mut all, mut last) = (index.count(), None);
    for (domain, entry) in index.iter() {
        let mut above = entry.path.parent();
        while let Some(path) = above {
            // What is below one folder follows each other: so each is counted at the first.
            let is_new =
                last.is_none_or(|(other, last): (&str, &TreePath)| other != domain || !last.is_below(&path));
            all += u64::from(is_new && index.get(domain, &path).is_none());
            if index.get(domain, &path).is_some_and(|entry| !entry.is_folder()) {
                let (name, above) = (member_name(domain, &entry.path), member_name(domain, &path));
                let why = format!("below {}, which is no folder", shown(above));
                return Err(invalid(format!("{SUMS} lists {} {why}", shown(name))));
            }
            above = path.parent();
        }
        last = Some((domain, &entry.path));
    }
    match all > limits.files {
        true => {
            Err(too_large(format_args!("members in {SUMS}, with the folders above them"), all, limits.files))
        }
        false => Ok(()),
    }
}

fn check_totals(index: &Index, manifest: &Manifest) -> Result<(), Failure> {
    for record in &manifest.domains {
        let files = index.domain(&record.name).filter(|entry| entry.is_file());
        // As u128, because the sizes are whatever the list says.
        let (count, bytes) = files
            .fold((0, 0), |(count, bytes): (u64, u128), entry| (count + 1, bytes + u128::from(entry.size())));
        if (count, bytes) != (record.files, record.bytes.into()) {
            return Err(invalid(format!(
                "{SUMS} lists {count} files of {bytes} bytes of the domain '{}', {MANIFEST} says {} of {}",
                record.name, record.files, record.bytes
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        format = 1
        created = "2025-03-04T05:06:07Z"
        sha256sums = "0000000000000000000000000000000000000000000000000000000000000000"
        hardware = { model = "FW-1", network_modules = 0 }
        device = { uuid = "u", hostname = "fw-a" }
        software = { version = "1", build = "1" }
        domains = [
            { name = "a", version = 1, files = 2, bytes = 5 },
            { name = "a-b", version = 1, files = 0, bytes = 0 },
        ]
    "#;

    /// Two good files, and `lines` in which `D` at the start stands for a digest, `\t` for a tab.
    fn parse(lines: &[&str]) -> Result<Sums, Failure> {
        let good = [
            "D  config/a/etc/x  y",
            "D  config/a/ z",
            "# file\t0644\troot\troot\t5\tconfig/a/etc/x  y",
            "# file\t0644\troot\troot\t0\tconfig/a/ z",
        ];
        let digest = Digest::of(b"").to_string();
        let text: String = good.iter().chain(lines).map(|line| line.replace('D', &digest) + "\n").collect();
        let limits = Limits { files: 5, depth: 4, ..Limits::default() };
        Sums::parse(text.as_bytes(), &toml::from_str(MANIFEST).unwrap(), &limits)
    }

    fn refused(lines: &[&str]) -> String {
        parse(lines).expect_err(&format!("{lines:?}")).message
    }

    #[test]
    fn the_list_is_read_as_it_was_written() {
        let sums = parse(&[
            "# folder\t0750\troot\tadm\t\tconfig/a-b/etc",
            "# link\t0777\troot\troot\t../x y\tconfig/a/etc/link",
        ])
        .unwrap();
        assert_eq!(sums.get("a", &"etc/x  y".parse().unwrap()), Some(Digest::of(b"")));
        assert_eq!(sums.get("a", &"etc/link".parse().unwrap()), None);
        assert_eq!(sums.iter().count(), 2);
        let again =
            Sums::parse(&Sums::write(sums.index()), &toml::from_str(MANIFEST).unwrap(), &Limits::default());
        assert_eq!(again.unwrap(), sums);
    }

    #[test]
    fn a_line_that_sha256sum_would_not_read_plainly_is_refused() {
        for bad in [
            "\\D  config/a/x\\ny",
            "D *config/a/x",
            "D config/a/x",
            " D  config/a/x",
            "#comment",
            "",
            "SHA256 (config/a/x) = D",
            "Z  config/a/x",
        ] {
            assert!(refused(&[bad]).contains("is not '<digest>  <member>'"), "{bad:?}");
        }
    }

    #[test]
    fn a_comment_that_describes_no_member_is_refused() {
        for bad in [
            "# folder\t0750\troot\troot\t\tconfig/a",
            "# folder\t0750\troot\troot\t\tconfig",
            "# folder\t0750\troot\troot\t1\tconfig/a/b",
            "# folder\t0750\troot\troot\tconfig/a/b",
            "# folder\t0750\troot\troot\t\tconfig/a/b\t",
            "# folder\t4750\troot\troot\t\tconfig/a/b",
            "# folder\t0790\troot\troot\t\tconfig/a/b",
            "# folder\t750\troot\troot\t\tconfig/a/b",
            "# folder\t0750\tRoot\troot\t\tconfig/a/b",
            "# folder\t0750\troot\t\t\tconfig/a/b",
            "# device\t0750\troot\troot\t\tconfig/a/b",
            "# link\t0755\troot\troot\tx\tconfig/a/b",
            "# link\t0777\troot\troot\t\tconfig/a/b",
            "# file\t0644\troot\troot\t+1\tconfig/a/b",
            "# file\t0644\troot\troot\t01\tconfig/a/b",
            "# file\t0644\troot\troot\t18446744073709551616\tconfig/a/b",
            "# members",
        ] {
            assert!(refused(&[bad]).contains("describes no member"), "{bad:?}");
        }
    }

    #[test]
    fn a_list_that_contradicts_itself_or_the_manifest_is_refused() {
        let folder = "# folder\t0750\troot\troot\t\tconfig/a/b";
        let digest = "D  config/a/c";
        for (lines, says) in [
            (&[folder, folder][..], "a second time"),
            (&[digest, digest], "a second time"),
            (&[digest], "no such file"),
            (&["# file\t0644\troot\troot\t5\tconfig/a/c"], "no digest"),
            (&["# folder\t0750\troot\troot\t\tconfig/a/ z/b"], "below 'config/a/ z', which is no folder"),
            (&["# folder\t0750\troot\troot\t\tconfig/b/c"], "does not declare"),
            (&["# folder\t0750\troot\troot\t\tconfig/a/../c"], "holds the part '..'"),
            (&["# folder\t0750\troot\troot\t\t/etc"], "outside config/"),
            (&["# folder\t0750\troot\troot\t\tconfig/a/1/2/3/4/5"], "5, of at most 4"),
            (&[digest, "# file\t0644\troot\troot\t1\tconfig/a/c"], "3 files of 6 bytes"),
            (
                &[digest, "# file\t0644\troot\troot\t18446744073709551615\tconfig/a/c"],
                "18446744073709551620 bytes",
            ),
        ] {
            assert!(refused(lines).contains(says), "{lines:?}: {}", refused(lines));
        }
        let many: Vec<_> = (0..4).map(|n| format!("# folder\t0750\troot\troot\t\tconfig/a/{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(refused(&many).contains("6, of at most 5"));
    }
}
