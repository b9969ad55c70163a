//! What a domain's rules are made of: owned paths, globs, links, refused lines, accounts.

use std::fmt;

use glob::{MatchOptions, Pattern};
use regex_lite::Regex;
use reinstate_api::one_line;
use serde::{Deserialize, Deserializer};

use crate::accounts::{ADMINS, OPERATORS, SHELL};
use crate::tree::TreePath;

/// `/etc/nftables.conf` (a file) or `/etc/nftables.d/` (a whole folder).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub path: TreePath,
    pub folder: bool,
}

impl Owned {
    pub(super) fn holds(&self, path: &TreePath) -> bool {
        *path == self.path || (self.folder && path.is_below(&self.path))
    }

    pub(super) fn overlaps(&self, other: &Owned) -> bool {
        self.holds(&other.path) || other.holds(&self.path)
    }
}

impl fmt::Display for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.folder { "/" } else { "" })
    }
}

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (path, folder) = match text.strip_suffix('/') {
            Some(path) => (path, true),
            None => (text.as_str(), false),
        };
        let path = absolute(path).map_err(serde::de::Error::custom)?;
        Ok(Self { path, folder })
    }
}

/// Reads an absolute path as the vendor writes it.
pub fn absolute(text: &str) -> Result<TreePath, String> {
    text.strip_prefix('/')
        .ok_or_else(|| format!("path '{}' is relative; it must begin with '/'", one_line(text)))?
        .parse()
}

/// A glob over absolute paths; `*` does not cross a slash, `**` does.
#[derive(Clone, Debug)]
pub struct PathGlob(Pattern);

impl PathGlob {
    pub fn matches(&self, path: &TreePath) -> bool {
        self.matches_text(&format!("/{}", path.as_str()))
    }

    pub(super) fn matches_text(&self, path: &str) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        self.0.matches_with(path, options)
    }
}

impl<'de> Deserialize<'de> for PathGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.starts_with('/') {
            let relative = format!("glob '{}' is relative; it must begin with '/'", one_line(&text));
            return Err(serde::de::Error::custom(relative));
        }
        Pattern::new(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Which symbolic links may exist, and where they may point to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRule {
    pub path: PathGlob,
    /// Of the target, made absolute.
    pub target: PathGlob,
}

/// Lines that would execute programs or make an account equal to root.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The files it looks at; all of the domain where it is absent.
    #[serde(default, rename = "in")]
    pub within: Option<PathGlob>,
    #[serde(deserialize_with = "regex")]
    pub line: Regex,
    /// Lines that also match this are let through.
    #[serde(default, deserialize_with = "some_regex")]
    pub except: Option<Regex>,
}

impl Refusal {
    pub(super) fn looks_at(&self, path: &TreePath) -> bool {
        self.within.as_ref().is_none_or(|glob| glob.matches(path))
    }

    pub(super) fn refuses(&self, line: &str) -> bool {
        self.line.is_match(line) && !self.except.as_ref().is_some_and(|except| except.is_match(line))
    }
}

fn regex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    Regex::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn some_regex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    regex(deserializer).map(Some)
}

/// How the account database is merged: accounts in the range come from the backup, all others stay
/// as they are here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Accounts {
    pub first_uid: u32,
    pub last_uid: u32,
    /// Local accounts that stay although the backup lacks them.
    #[serde(default)]
    pub keep: Vec<String>,
    /// System groups that accounts of the range may be members of, the agent's own by default; in every other one there are
    /// system accounts only.
    #[serde(default = "administrators")]
    pub groups: Vec<String>,
    /// Login shells that accounts of the range may have, by default the agent's own and programs that let nobody in. The
    /// password comes with the backup, so whatever is named here may be anybody's: a support account with another shell
    /// has a number outside the range.
    #[serde(default = "shells")]
    pub shells: Vec<String>,
}

fn shells() -> Vec<String> {
    [
        SHELL,
        "/usr/sbin/nologin",
        "/sbin/nologin",
        "/usr/bin/false",
        "/bin/false",
        "/usr/bin/sync",
        "/bin/sync",
    ]
    .map(String::from)
    .to_vec()
}

fn administrators() -> Vec<String> {
    vec![ADMINS.into(), OPERATORS.into()]
}

impl Accounts {
    /// Is this the number of an account, or of a group, that comes from the backup?
    pub fn covers(&self, id: u32) -> bool {
        (self.first_uid..=self.last_uid).contains(&id)
    }
}

/// Resolves `.` and `..` in a link's target, without looking at any disk.
pub(super) fn absolute_target(link: &TreePath, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => link.as_str().split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}
