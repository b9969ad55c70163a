//! The account database: passwd, shadow, group and gshadow, and what they may not make of an account.

use std::collections::BTreeSet;

use reinstate_api::{Code, Failure, one_line};

use crate::domain::Accounts;
use crate::tree::TreePath;

/// Whose members may do everything, and whose may look. Not a vendor's to name: the package makes both groups, units and
/// the backup folder are of the first.
pub const ADMINS: &str = "reinstate-admin";
pub const OPERATORS: &str = "reinstate-operator";

/// The shell that the package brings.
pub const SHELL: &str = "/usr/bin/reinstate-shell";

/// One line: fields between colons.
#[derive(Clone, Debug)]
pub struct Record(pub Vec<String>);

impl Record {
    pub fn name(&self) -> &str {
        &self.0[0]
    }

    /// The numeric id of a passwd or group line.
    pub fn id(&self) -> Option<u32> {
        self.0.get(2)?.parse().ok()
    }

    /// What a passwd line has run at a login; an empty one is `/bin/sh`, and colons count.
    pub fn shell(&self) -> String {
        self.0.get(6..).unwrap_or_default().join(":")
    }

    /// The members of a group or gshadow line.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.0.last().into_iter().flat_map(|last| last.split(',')).filter(|name| !name.is_empty())
    }
}

fn name_of(line: &str) -> &str {
    line.split(':').next().unwrap_or(line)
}

/// A file of such lines, each name once.
#[derive(Default)]
pub struct Database(pub Vec<Record>);

impl Database {
    pub fn parse(path: &TreePath, text: &[u8]) -> Result<Self, Failure> {
        let invalid = |why: &str| {
            Failure::new(Code::ArchiveInvalid, format!("{path} is not an account database: {why}"))
                .hint("set that file right on the appliance that it is of, and make another backup")
        };
        let text = std::str::from_utf8(text).map_err(|_| invalid("it is not UTF-8 text"))?;
        let mut seen = BTreeSet::new();
        let mut records = Vec::new();
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            // The C library takes a field to its first NUL, a line from its first character that is not white, and the
            // rest for a comment or for accounts of a directory service: nothing here may read another account than it does.
            if line.contains(char::is_control)
                || line.starts_with(|c: char| c.is_whitespace() || "+-#".contains(c))
            {
                let why = "has a control character, or begins with white space, '+', '-' or '#'";
                return Err(invalid(&format!("the line '{}' {why}", one_line(name_of(line)))));
            }
            let record = Record(line.split(':').map(String::from).collect());
            if record.0.len() < 3 || record.name().is_empty() {
                return Err(invalid(&format!("the line '{}' has too few fields", one_line(record.name()))));
            }
            if !seen.insert(record.name().to_owned()) {
                return Err(invalid(&format!("'{}' stands in it twice", one_line(record.name()))));
            }
            records.push(record);
        }
        Ok(Self(records))
    }

    pub fn get(&self, name: &str) -> Option<&Record> {
        self.0.iter().find(|record| record.name() == name)
    }
}

/// All of it; a file that is not there is an empty one.
pub struct Wanted {
    pub passwd: Database,
    pub shadow: Database,
    pub group: Database,
    pub gshadow: Database,
}

impl Wanted {
    /// People stay people and nobody logs in as the system, whoever wrote these files: an account of the range is in
    /// no system group but those that the domain names and has no shell but those, and a system account has no
    /// password but the one it has `here` already.
    ///
    /// # Errors
    /// `account-refused`, naming the account.
    pub fn permit(&self, rules: &Accounts, here: &Database) -> Result<(), Failure> {
        let is_person = |record: &&Record| record.id().is_some_and(|id| rules.covers(id));
        let people: BTreeSet<&str> = self.passwd.0.iter().filter(is_person).map(Record::name).collect();
        // A number that cannot be read here may be one to the C library.
        let is_system = |record: &&Record| record.id().is_some_and(|id| !rules.covers(id));
        for person in self.passwd.0.iter().filter(|record| !is_system(record)) {
            let shell = person.shell();
            if !rules.shells.contains(&shell) {
                return Err(refused_shell(person, &shell, rules));
            }
        }
        let system: BTreeSet<&str> =
            self.passwd.0.iter().map(Record::name).filter(|name| !people.contains(name)).collect();
        let is_open = |group: &Record| {
            group.id().is_some_and(|id| rules.covers(id))
                || rules.groups.iter().any(|name| name == group.name())
        };
        for person in self.passwd.0.iter().filter(is_person) {
            let gid = person.0.get(3).and_then(|gid| gid.parse().ok());
            let group = self.group.0.iter().find(|group| group.id() == gid);
            if !gid.is_some_and(|gid| rules.covers(gid)) && !group.is_some_and(is_open) {
                let gid = person.0.get(3).map_or("", String::as_str);
                return Err(refused(person, format!("has the system group {} as its own", one_line(gid))));
            }
        }
        let closed: BTreeSet<&str> =
            self.group.0.iter().filter(|group| !is_open(group)).map(Record::name).collect();
        for group in self.group.0.iter().chain(&self.gshadow.0).filter(|group| closed.contains(group.name()))
        {
            let text = group.0.get(1).map_or("", String::as_str);
            if !text.is_empty() && !text.starts_with(['*', '!', 'x']) {
                return Err(refused(group, "is a system group and would have a password".into()));
            }
            if let Some(person) = group.members().find(|name| !system.contains(name)) {
                let why = format!("is a member of the system group {}", one_line(group.name()));
                return Err(refused(&Record(vec![person.to_owned()]), why));
            }
        }
        let administered = |group: &&Record| group.0.get(2).is_some_and(|names| !names.is_empty());
        if let Some(group) = self.gshadow.0.iter().filter(|g| closed.contains(g.name())).find(administered) {
            return Err(refused(group, "is a system group and would have an administrator".into()));
        }
        let password = |record: &Record| record.0.get(1).cloned().unwrap_or_default();
        for account in self.passwd.0.iter().filter(|account| system.contains(account.name())) {
            if !password(account).starts_with(['*', '!', 'x']) {
                return Err(refused(account, "is the system's and would have its password in passwd".into()));
            }
        }
        for account in self.shadow.0.iter().filter(|account| !people.contains(account.name())) {
            let known = here.get(account.name()).map(password) == Some(password(account));
            if !known && !password(account).starts_with(['*', '!']) {
                return Err(refused(account, "is the system's and would get another password".into()));
            }
        }
        Ok(())
    }
}

fn refused(account: &Record, why: String) -> Failure {
    Failure::new(Code::AccountRefused, format!("'{}' {why}", one_line(account.name())))
        .hint("set that right here or in the backup; which system groups are open is in the domain's accounts.groups")
}

fn refused_shell(account: &Record, shell: &str, rules: &Accounts) -> Failure {
    let shell = match shell {
        "" => "no shell, which is /bin/sh".to_owned(),
        shell => format!("the shell {}", one_line(shell)),
    };
    let name = one_line(account.name());
    Failure::new(Code::AccountRefused, format!("'{name}' has {shell}, and is the account of a person")).hint(
        format!(
            "set that right in the backup, or here as root; people have one of the domain's accounts.shells ({})",
            rules.shells.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/bash\nsshd:x:100:100\nalice:x:1001:1001::/:/bin/menu\n";
    const GROUP: &str = "root:x:0:\ndisk:x:6:\nadmins:x:27:alice\nalice:x:1001:\n";
    const SHADOW: &str = "root:*:1\nsshd:!:1\nalice:$6$a:1\n";

    fn rules() -> Accounts {
        let (groups, shells) = (vec!["admins".into()], vec!["/bin/menu".into(), "/usr/sbin/nologin".into()]);
        Accounts { first_uid: 1000, last_uid: 59999, keep: Vec::new(), groups, shells }
    }

    fn database(text: &str) -> Database {
        Database::parse(&"etc/passwd".parse().unwrap(), text.as_bytes()).unwrap()
    }

    fn permit(passwd: &str, shadow: &str, group: &str, here: &str) -> Result<(), Failure> {
        let [passwd, shadow, group, here] = [passwd, shadow, group, here].map(database);
        Wanted { passwd, shadow, group, gshadow: Database::default() }.permit(&rules(), &here)
    }

    #[test]
    fn people_may_be_in_the_groups_that_the_domain_names_and_in_their_own() {
        permit(PASSWD, SHADOW, GROUP, SHADOW).unwrap();
        permit(&PASSWD.replace("1001:1001", "1001:27"), SHADOW, GROUP, SHADOW).unwrap();
    }

    #[test]
    fn nobody_is_put_into_another_system_group() {
        let disk = GROUP.replace("disk:x:6:", "disk:x:6:alice");
        assert!(
            permit(PASSWD, SHADOW, &disk, SHADOW)
                .unwrap_err()
                .message
                .contains("'alice' is a member of the system group disk")
        );
        let stranger = GROUP.replace("disk:x:6:", "disk:x:6:mallory");
        assert!(permit(PASSWD, SHADOW, &stranger, SHADOW).is_err());
        for gid in ["6", "0", "7", "x"] {
            let passwd = PASSWD.replace("1001:1001", &format!("1001:{gid}"));
            assert!(permit(&passwd, SHADOW, GROUP, SHADOW).is_err(), "{gid}");
        }
    }

    #[test]
    fn a_line_that_the_c_library_reads_as_another_account_is_refused() {
        let path: TreePath = "etc/passwd".parse().unwrap();
        let parse = |line: &str| Database::parse(&path, format!("{PASSWD}{line}\n").as_bytes());
        parse("").unwrap();
        parse("zoë:x:1002:1002:Zoë, 2nd floor:/home/zoe:/bin/menu").unwrap();
        for line in [
            "eve:x:1002:1002:Eve\0:/home/eve:/bin/menu",
            " root:x:1002:1002::/:/bin/menu",
            "\troot:x:1002:1002::/:/bin/menu",
            "\u{b}root:x:1002:1002::/:/bin/menu",
            "\u{a0}root:x:1002:1002::/:/bin/menu",
            "eve:x:1002:1002::/:/bin/menu\r",
            "+:x:34:34::/:/bin/bash",
            "+eve::::::",
            "-eve:x:1002:1002::/:/bin/menu",
            "#eve:x:1002:1002::/:/bin/menu",
            " ",
        ] {
            let refused = parse(line).err().unwrap_or_else(|| panic!("{line:?} was read"));
            assert_eq!(refused.code, Code::ArchiveInvalid, "{refused}");
        }
    }

    #[test]
    fn people_have_the_shells_that_the_domain_names_and_the_system_its_own() {
        let with = |line: &str| permit(&format!("{PASSWD}{line}\n"), SHADOW, GROUP, SHADOW);
        permit(&PASSWD.replace("/bin/menu", "/usr/sbin/nologin"), SHADOW, GROUP, SHADOW).unwrap();
        with("backup:x:34:34::/:/bin/sh").unwrap();
        for shell in ["/bin/bash", "/bin/sh", "/bin/menu2", " /bin/menu", "/bin/menu ", "/bin/menu:", "bash"]
        {
            let refused = with(&format!("eve:x:1002:1002::/:{shell}")).unwrap_err();
            assert_eq!(refused.code, Code::AccountRefused);
            let says = format!("'eve' has the shell {}", one_line(shell));
            assert!(refused.message.contains(&says), "{shell}: {refused}");
        }
        for line in ["eve:x:1002:1002::/:", "eve:x:1002:1002::/", "eve:x:1002:1002"] {
            let refused = with(line).unwrap_err();
            assert!(refused.message.contains("'eve' has no shell, which is /bin/sh"), "{line}: {refused}");
        }
        for number in [" 1002", "1002 ", "-1", "", "4294968298"] {
            assert!(with(&format!("eve:x:{number}:1002::/:/bin/bash")).is_err(), "{number}");
        }
    }

    #[test]
    fn a_system_account_gets_no_password_but_keeps_the_one_it_has() {
        let open = SHADOW.replace("root:*", "root:$6$b");
        assert!(permit(PASSWD, &open, GROUP, SHADOW).unwrap_err().message.contains("'root'"));
        assert!(permit(&PASSWD.replace("sshd:x", "sshd:$6$b"), SHADOW, GROUP, SHADOW).is_err());
        assert!(permit(PASSWD, SHADOW, &GROUP.replace("disk:x", "disk:$6$b"), SHADOW).is_err());
        permit(PASSWD, &open, GROUP, &open).unwrap();
        permit(PASSWD, SHADOW, GROUP, &open).unwrap();
    }
}
