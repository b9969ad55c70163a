//! Domains: areas of configuration, declared as data by the vendor.

mod rules;

use std::collections::BTreeMap;

use reinstate_api::{Code, Failure, one_line};
use serde::Deserialize;

pub use rules::{Accounts, LinkRule, Owned, PathGlob, Refusal, absolute};

use rules::absolute_target;

use crate::dropin::DropIn;
use crate::tree::{Entry, EntryKind, TreePath};

/// How the names begin that activation gives to files which it has not put into place yet.
pub const TEMPORARY: &str = ".reinstate-new.";

/// What a restore does to a domain. Resolved while staging; activation knows no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The backup's content, and nothing else.
    Replace,
    /// The backup's content, and local entries that the backup lacks.
    Merge,
    /// Everything goes, and is listed to be enrolled again.
    Remove,
    /// Neither backed up nor touched.
    Keep,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Replace => "replace",
            Policy::Merge => "merge",
            Policy::Remove => "remove",
            Policy::Keep => "keep",
        }
    }
}

/// One area of configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Domain {
    pub name: String,
    /// Raised when the meaning of the files changes; an archive's must be the same.
    pub version: u32,
    /// What the domain owns: files, and whole folders where a slash ends the path.
    pub paths: Vec<Owned>,
    /// Globs of paths in an owned folder that are the image's all the same.
    #[serde(default)]
    pub except: Vec<PathGlob>,
    pub restore: Policy,
    /// An appliance that lacks this domain may leave it out of a restore.
    #[serde(default)]
    pub optional: bool,
    /// Globs of files that are clear in the archive and sealed on the device.
    #[serde(default)]
    pub secrets: Vec<PathGlob>,
    /// Symbolic links that may exist, with where each may point to.
    #[serde(default)]
    pub links: Vec<LinkRule>,
    /// Restarted when the domain changes without a reboot.
    #[serde(default)]
    pub units: Vec<String>,
    /// A fixed argument vector; `{root}` stands for the root of the tree to check, `{vendor}` for the vendor's own folder
    /// (`/usr/lib/reinstate`).
    #[serde(default)]
    pub validate: Vec<String>,
    /// Lines that are never activated.
    #[serde(default)]
    pub refuse: Vec<Refusal>,
    /// Present where the domain is the account database, which is merged account by account.
    #[serde(default)]
    pub accounts: Option<Accounts>,
}

impl Domain {
    pub fn owns(&self, path: &TreePath) -> bool {
        self.paths.iter().any(|owned| owned.holds(path)) && !self.except.iter().any(|glob| glob.matches(path))
    }

    /// Is this an entry that the domain may have?
    ///
    /// # Errors
    /// `path-not-owned`, `archive-invalid` for a link that is not declared.
    pub fn accepts(&self, entry: &Entry) -> Result<(), Failure> {
        let (path, name) = (&entry.path, &self.name);
        let refused = |why: String| {
            Failure::new(Code::PathNotOwned, format!("{path} is refused: {why}"))
                .hint("the backup was made with other domain files than this appliance has")
        };
        if !self.owns(path) {
            return Err(refused(format!("domain '{name}' does not own it")));
        }
        if path.as_str().split('/').any(|part| part.starts_with(TEMPORARY)) {
            return Err(refused("its name is one that activation uses itself".into()));
        }
        // Below an owned folder everything may be a folder; the owned paths are what they are declared.
        if let Some(owned) = self.paths.iter().find(|owned| owned.path == *path)
            && owned.folder != entry.is_folder()
        {
            let kind = |folder| if folder { "a folder" } else { "a file" };
            return Err(refused(format!(
                "domain '{name}' declares {}, this is {}",
                kind(owned.folder),
                kind(entry.is_folder())
            )));
        }
        match &entry.kind {
            EntryKind::Link { target } if !self.allows_link(path, target) => Err(Failure::new(
                Code::ArchiveInvalid,
                format!("{path} is a link to {}, which domain '{name}' does not declare", one_line(target)),
            )
            .hint("restore from another backup, or have the link declared in the domain's links")),
            _ => Ok(()),
        }
    }

    pub fn is_secret(&self, path: &TreePath) -> bool {
        self.secrets.iter().any(|glob| glob.matches(path))
    }

    /// Is a link at `path` to `target` one of the declared ones?
    pub fn allows_link(&self, path: &TreePath, target: &str) -> bool {
        let Some(target) = absolute_target(path, target) else {
            return false;
        };
        self.links.iter().any(|rule| rule.path.matches(path) && rule.target.matches_text(&target))
    }

    /// Does any rule look at this file?
    pub fn inspects(&self, path: &TreePath) -> bool {
        self.refuse.iter().any(|rule| rule.looks_at(path))
    }

    /// Refuses content that holds a line which is never activated: one that would run a program, or
    /// make an account equal to root.
    ///
    /// # Errors
    /// `line-refused`, with the line and its number.
    pub fn inspect(&self, path: &TreePath, content: &[u8]) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(content);
        let rules: Vec<_> = self.refuse.iter().filter(|rule| rule.looks_at(path)).collect();
        for (at, line) in text.lines().enumerate() {
            if rules.iter().any(|rule| rule.refuses(line)) {
                let line: String = line.chars().take(120).collect();
                return Err(Failure::new(
                    Code::LineRefused,
                    format!("{path}, line {}: '{line}' is never activated by domain '{}'", at + 1, self.name),
                )
                .hint("a setting that runs programs or lets somebody in who should not be; the domain's refuse rules say which"));
            }
        }
        Ok(())
    }

    fn problems(&self, found: &mut Vec<String>) {
        let name_fits = self.name.starts_with(|c: char| c.is_ascii_lowercase())
            && self.name.len() <= 32
            && self.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !name_fits {
            found.push("name must be 1 to 32 of a-z, 0-9 and '-', a letter first".into());
        }
        if self.paths.is_empty() {
            found.push("paths is empty; a domain owns at least one path".into());
        }
        for (at, owned) in self.paths.iter().enumerate() {
            if let Some(other) = self.paths[..at].iter().find(|other| owned.overlaps(other)) {
                found.push(format!("path {owned} overlaps {other}"));
            }
            if let Some(reserved) = RESERVED.iter().find(|path| reserved(owned, path)) {
                found.push(format!("path {owned} overlaps /{reserved}, which no domain may own"));
            }
        }
        if self.validate.first().is_some_and(|program| !program.starts_with('/')) {
            found.push(format!("validate runs '{}', which is not an absolute path", self.validate[0]));
        }
        let device_names: TreePath = "etc/systemd/network/x.link".parse().expect("it is a tree path");
        if self.owns(&device_names) {
            found.push(
                "it owns /etc/systemd/network/*.link, which udev reads before activation; use except".into(),
            );
        }
        if self.accounts.as_ref().is_some_and(|a| a.first_uid == 0 || a.first_uid > a.last_uid) {
            found.push("accounts: first-uid must be from 1 to last-uid".into());
        }
    }
}

/// What the first process, its generators and udev read before activation, what the agent keeps for
/// itself, and what is not on a disk.
const RESERVED: &[&str] = &[
    "etc/systemd/system",
    "etc/systemd/user",
    "etc/systemd/system.conf",
    "etc/systemd/system.conf.d",
    "etc/udev",
    "etc/fstab",
    "etc/crypttab",
    "etc/machine-id",
    "etc/modules-load.d",
    "etc/ld.so.preload",
    "etc/reinstate",
    "usr",
    "boot",
    "run",
    "proc",
    "sys",
    "dev",
    "var/lib/reinstate",
    "var/sf/backup",
];

fn reserved(owned: &Owned, path: &str) -> bool {
    let path = Owned { path: path.parse().expect("the reserved paths are tree paths"), folder: true };
    owned.overlaps(&path)
}

/// All domains of an appliance, by name. No two own the same path.
#[derive(Clone, Debug, Default)]
pub struct Domains(BTreeMap<String, Domain>);

impl Domains {
    /// From the drop-ins; reports every problem of every file.
    pub fn from_drop_ins(drop_ins: &[DropIn]) -> Result<Self, Vec<Failure>> {
        let mut domains: BTreeMap<String, Domain> = BTreeMap::new();
        let mut failures = Vec::new();
        for drop_in in drop_ins {
            let domain: Domain = match drop_in.parse() {
                Ok(domain) => domain,
                Err(failure) => {
                    failures.push(failure);
                    continue;
                }
            };
            let mut problems = Vec::new();
            domain.problems(&mut problems);
            for other in domains.values() {
                for (mine, theirs) in pairs(&domain.paths, &other.paths) {
                    if mine.overlaps(theirs) {
                        problems.push(format!("path {mine} overlaps {theirs} of domain '{}'", other.name));
                    }
                }
            }
            if domains.contains_key(&domain.name) {
                problems.push(format!("domain '{}' is declared twice", domain.name));
            }
            failures.extend(problems.iter().map(|problem| drop_in.failure(problem)));
            domains.entry(domain.name.clone()).or_insert(domain);
        }
        if domains.is_empty() && failures.is_empty() {
            failures.push(
                Failure::new(Code::ProfileInvalid, "no domain is declared")
                    .hint("put domain files into /usr/lib/reinstate/domains.d"),
            );
        }
        if failures.is_empty() { Ok(Self(domains)) } else { Err(failures) }
    }

    pub fn get(&self, name: &str) -> Option<&Domain> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.0.values()
    }

    /// Those that generations hold: all but the `keep` ones.
    pub fn stored(&self) -> impl Iterator<Item = &Domain> {
        self.iter().filter(|domain| domain.restore != Policy::Keep)
    }
}

fn pairs<'a>(a: &'a [Owned], b: &'a [Owned]) -> impl Iterator<Item = (&'a Owned, &'a Owned)> {
    a.iter().flat_map(move |x| b.iter().map(move |y| (x, y)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Result<Domains, Vec<Failure>> {
        Domains::from_drop_ins(&[DropIn { path: "a.toml".into(), text: text.into() }])
    }

    #[test]
    fn an_unknown_key_a_relative_path_and_a_reserved_path_are_refused() {
        let base = "name = 'a'\nversion = 1\nrestore = 'replace'\n";
        for (rest, says) in [
            ("paths = ['/etc/a']\ncolour = 'red'", "colour"),
            ("paths = ['etc/a']", "relative"),
            ("paths = ['/etc/fstab']", "no domain may own"),
            ("paths = ['/etc/']", "no domain may own"),
            ("paths = ['/etc/a/', '/etc/a/b']", "overlaps"),
            ("paths = ['/etc/a']\nvalidate = ['sh', '-c', 'true']", "absolute"),
        ] {
            let failures = domain(&format!("{base}{rest}")).unwrap_err();
            assert!(failures[0].message.contains(says), "{rest}: {}", failures[0]);
            assert_eq!(failures[0].code, Code::ProfileInvalid);
        }
    }

    #[test]
    fn domains_that_overlap_are_refused_naming_both() {
        let files = [("a", "/etc/x/"), ("b", "/etc/x/y")].map(|(name, path)| DropIn {
            path: format!("{name}.toml"),
            text: format!("name = '{name}'\nversion = 1\nrestore = 'replace'\npaths = ['{path}']"),
        });
        let failures = Domains::from_drop_ins(&files).unwrap_err();
        assert!(failures[0].message.contains("/etc/x/y") && failures[0].message.contains("'a'"));
    }

    #[test]
    fn nothing_comes_under_a_name_that_activation_takes_away_itself() {
        let domains = domain("name = 'a'\nversion = 1\nrestore = 'replace'\npaths = ['/etc/a/']\n").unwrap();
        let entry = |path: &str| Entry {
            path: path.parse().unwrap(),
            mode: 0o755,
            owner: "root".into(),
            group: "root".into(),
            kind: EntryKind::Folder,
        };
        let a = domains.get("a").unwrap();
        a.accepts(&entry("etc/a/.reinstate-old/b")).unwrap();
        for path in ["etc/a/.reinstate-new.b", "etc/a/.reinstate-new.b/c", "etc/a/b/.reinstate-new./c/d"] {
            assert_eq!(a.accepts(&entry(path)).unwrap_err().code, Code::PathNotOwned, "{path}");
        }
    }

    #[test]
    fn a_link_may_point_only_where_its_rule_says() {
        let domains = domain(
            "name = 'a'\nversion = 1\nrestore = 'replace'\npaths = ['/etc/localtime']\n\
             links = [{ path = '/etc/localtime', target = '/usr/share/zoneinfo/**' }]",
        )
        .unwrap();
        let a = domains.get("a").unwrap();
        let path: TreePath = "etc/localtime".parse().unwrap();
        assert!(a.allows_link(&path, "../usr/share/zoneinfo/Europe/Berlin"));
        assert!(a.allows_link(&path, "/usr/share/zoneinfo/UTC"));
        assert!(!a.allows_link(&path, "/usr/share/zoneinfo/../../../etc/shadow"));
        assert!(!a.allows_link(&path, "../../../etc/shadow"));
        assert!(!a.allows_link(&"etc/other".parse().unwrap(), "/usr/share/zoneinfo/UTC"));
    }
}
