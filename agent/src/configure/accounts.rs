//! Edits of the account database, line by line: those of other accounts stay as they are.

use reinstate_api::{Access, Code, Failure, one_line};

use crate::accounts::{ADMINS, OPERATORS};
use crate::domain;
use crate::profile::NewAccounts;

/// The four files of it, as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    pub passwd: String,
    pub shadow: String,
    pub group: String,
    pub gshadow: String,
}

/// What is changed in the accounts of people.
pub struct Editor<'a> {
    pub texts: Texts,
    pub rules: &'a domain::Accounts,
    /// Days since 1970.
    pub today: i64,
    /// Numbers of users who were deleted, the last one last: a session of theirs may go on, and is known by its number.
    pub retired: Vec<u32>,
}

/// So many of them are kept.
const RETIRED: usize = 256;

impl Editor<'_> {
    pub fn set_password(&mut self, name: &str, hash: &str) -> Result<(), Failure> {
        self.person(name)?;
        let today = self.today.to_string();
        let mut fields = fields(&self.texts.shadow, name).unwrap_or_else(|| new_shadow(name));
        fields.resize(fields.len().max(9), String::new());
        fields[1] = hash.to_owned();
        fields[2] = today;
        put(&mut self.texts.shadow, &fields);
        Ok(())
    }

    pub fn add(&mut self, name: &str, access: Access, hash: &str, new: &NewAccounts) -> Result<(), Failure> {
        check_name(name)?;
        let taken = |what: &str| {
            Err(Failure::new(Code::BadRequest, format!("there is {what} '{name}' already"))
                .hint("take another name"))
        };
        if fields(&self.texts.passwd, name).is_some() {
            return taken("a user");
        }
        if fields(&self.texts.group, name).is_some() {
            return taken("a group");
        }
        let id = self.free_id()?;
        let NewAccounts { shell, home } = new;
        put(&mut self.texts.passwd, &split(&format!("{name}:x:{id}:{id}::{home}:{shell}")));
        put(&mut self.texts.group, &split(&format!("{name}:x:{id}:")));
        if !self.texts.gshadow.is_empty() {
            put(&mut self.texts.gshadow, &split(&format!("{name}:!::")));
        }
        self.set_password(name, hash)?;
        self.join(name, access)
    }

    pub fn set_access(&mut self, name: &str, access: Access, by: &str) -> Result<(), Failure> {
        self.person(name)?;
        if access == Access::Basic {
            if name == by {
                return Err(own_account(name, "take config access from"));
            }
            self.keep_an_admin(name, "may only look")?;
        }
        self.join(name, access)
    }

    pub fn delete(&mut self, name: &str, by: &str) -> Result<(), Failure> {
        let account = self.person(name)?;
        if name == by {
            return Err(own_account(name, "delete"));
        }
        self.keep_an_admin(name, "is deleted")?;
        let id = account.get(2).and_then(|id| id.parse().ok());
        self.retired.retain(|other| Some(*other) != id);
        self.retired.extend(id);
        let more = self.retired.len().saturating_sub(RETIRED);
        self.retired.drain(..more);
        let Texts { passwd, shadow, group, gshadow } = &mut self.texts;
        drop_line(passwd, name);
        drop_line(shadow, name);
        // The group that is the account's alone.
        let gid = account.get(3).cloned().unwrap_or_default();
        let alone = fields(group, name).is_some_and(|own| own.get(2) == Some(&gid))
            && !lines(passwd).any(|other| other.get(3) == Some(&gid));
        if alone {
            drop_line(group, name);
            drop_line(gshadow, name);
        }
        each(group, |fields| without(fields, 3, name));
        each(gshadow, |fields| {
            without(fields, 2, name);
            without(fields, 3, name);
        });
        Ok(())
    }

    /// What somebody may do here; none where the agent does not serve them.
    pub fn access(&self, name: &str) -> Option<Access> {
        let own = fields(&self.texts.passwd, name).and_then(|fields| fields.get(3).cloned());
        let is_in = |group: &str| {
            fields(&self.texts.group, group).is_some_and(|group| {
                group.get(2) == own.as_ref() || members(&group).any(|member| member == name)
            })
        };
        match (is_in(ADMINS), is_in(OPERATORS)) {
            (true, _) => Some(Access::Config),
            (false, true) => Some(Access::Basic),
            (false, false) => None,
        }
    }

    /// The account of a person of this name.
    fn person(&self, name: &str) -> Result<Vec<String>, Failure> {
        let account = fields(&self.texts.passwd, name).filter(|account| self.is_person(account));
        account.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("there is no user '{}'", one_line(name)))
                .hint("`show users` lists those that there are")
        })
    }

    fn is_person(&self, account: &[String]) -> bool {
        account.get(2).and_then(|id| id.parse().ok()).is_some_and(|id| self.rules.covers(id))
    }

    fn keep_an_admin(&self, name: &str, what: &str) -> Result<(), Failure> {
        let others = lines(&self.texts.passwd)
            .filter(|account| self.is_person(account) && account[0] != name && self.lets_in(account))
            .any(|account| self.access(&account[0]) == Some(Access::Config));
        if others || self.access(name) != Some(Access::Config) {
            return Ok(());
        }
        let why = format!("nobody would have config access if '{name}' {what}");
        Err(Failure::new(Code::Forbidden, why).hint("give another user config access first"))
    }

    /// Some password does.
    fn lets_in(&self, account: &[String]) -> bool {
        let hash = match account.get(1).map(String::as_str) {
            Some("x") => fields(&self.texts.shadow, &account[0]).and_then(|fields| fields.get(1).cloned()),
            own => own.map(String::from),
        };
        hash.is_some_and(|hash| !hash.starts_with(['!', '*']))
    }

    fn free_id(&self) -> Result<u32, Failure> {
        let taken: Vec<u32> = lines(&self.texts.passwd)
            .chain(lines(&self.texts.group))
            .filter_map(|fields| fields.get(2)?.parse().ok())
            .collect();
        let (first, last) = (self.rules.first_uid, self.rules.last_uid);
        let is_free = |id: &u32| !taken.contains(id);
        let fresh = (first..=last).find(|id| is_free(id) && !self.retired.contains(id));
        // The one whose user is gone for the longest time.
        let again = || self.retired.iter().copied().find(|id| (first..=last).contains(id) && is_free(id));
        fresh.or_else(again).ok_or_else(|| {
            Failure::new(Code::BadRequest, format!("all numbers from {first} to {last} are taken by users"))
                .hint("delete a user first")
        })
    }

    /// Into the group for that access, and out of the other one.
    fn join(&mut self, name: &str, access: Access) -> Result<(), Failure> {
        let (joined, left) = match access {
            Access::Config => (ADMINS, OPERATORS),
            Access::Basic => (OPERATORS, ADMINS),
        };
        if fields(&self.texts.group, joined).is_none() {
            return Err(Failure::new(Code::NotFound, format!("this appliance has no group {joined}"))
                .hint("the agent's package makes it: look at reinstate.sysusers"));
        }
        for text in [&mut self.texts.group, &mut self.texts.gshadow] {
            each(text, |fields| {
                if fields[0] == joined && !members(fields).any(|member| member == name) {
                    fields.resize(fields.len().max(4), String::new());
                    let list = &mut fields[3];
                    if !list.is_empty() {
                        list.push(',');
                    }
                    list.push_str(name);
                } else if fields[0] == left {
                    without(fields, 3, name);
                }
            });
        }
        match self.access(name) {
            now if now == Some(access) => Ok(()),
            _ => Err(Failure::new(Code::AccountRefused, format!("{left} is the own group of '{name}'"))
                .hint("delete that user and add another one")),
        }
    }
}

fn own_account(name: &str, doing: &str) -> Failure {
    Failure::new(Code::Forbidden, format!("'{name}' cannot {doing} the own account"))
        .hint("another user with config access can")
}

/// A name that every tool takes.
///
/// # Errors
/// `bad-request`.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    match first && name.len() <= 32 && name.chars().all(rest) {
        true => Ok(()),
        false => Err(Failure::new(
            Code::BadRequest,
            format!(
                "'{}' is no name of a user: 1 to 32 of a-z, 0-9, '_' and '-', a letter first",
                one_line(name)
            ),
        )),
    }
}

fn new_shadow(name: &str) -> Vec<String> {
    split(&format!("{name}:!::0:99999:7:::"))
}

fn split(line: &str) -> Vec<String> {
    line.split(':').map(String::from).collect()
}

fn lines(text: &str) -> impl Iterator<Item = Vec<String>> {
    text.lines().filter(|line| !line.trim().is_empty()).map(split)
}

fn fields(text: &str, name: &str) -> Option<Vec<String>> {
    lines(text).find(|fields| fields[0] == name)
}

fn members(group: &[String]) -> impl Iterator<Item = &str> {
    group.get(3).into_iter().flat_map(|list| list.split(',')).filter(|name| !name.is_empty())
}

fn without(fields: &mut [String], at: usize, name: &str) {
    if let Some(list) = fields.get_mut(at) {
        let others: Vec<_> = list.split(',').filter(|other| *other != name).collect();
        *list = others.join(",");
    }
}

/// In place of the account's line, or as the last one.
fn put(text: &mut String, new: &[String]) {
    if fields(text, &new[0]).is_some() {
        each(text, |fields| {
            if fields[0] == new[0] {
                *fields = new.to_vec();
            }
        });
    } else {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&(new.join(":") + "\n"));
    }
}

fn drop_line(text: &mut String, name: &str) {
    *text = text.split_inclusive('\n').filter(|line| line.split(':').next() != Some(name)).collect();
}

/// Lines that the change leaves alone keep their bytes.
fn each(text: &mut String, change: impl Fn(&mut Vec<String>)) {
    let edited = |line: &str| {
        let bare = line.trim_end_matches(['\r', '\n']);
        let before = split(bare);
        let mut after = before.clone();
        change(&mut after);
        if after == before { line.to_owned() } else { after.join(":") + &line[bare.len()..] }
    };
    *text = text.split_inclusive('\n').map(edited).collect();
}

#[cfg(test)]
mod tests;
