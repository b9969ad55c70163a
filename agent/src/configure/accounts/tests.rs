use super::*;

fn rules() -> domain::Accounts {
    let groups = vec![ADMINS.to_owned(), OPERATORS.to_owned()];
    domain::Accounts { first_uid: 1000, last_uid: 1003, keep: Vec::new(), groups, shells: Vec::new() }
}

fn texts() -> Texts {
    Texts {
        passwd: "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000:A,,:/home/admin:/bin/sh\n\
            alice:x:1001:1001::/home/alice:/bin/sh\n"
            .into(),
        shadow: "root:*:1::::::\nadmin:$6$a:19800:0:99999:7:::\nalice:!$6$b:19800:1:90:7:30::\n".into(),
        group: "root:x:0:\nreinstate-admin:x:27:admin\nreinstate-operator:x:28:alice\nadmin:x:1000:\n\
            alice:x:1001:\nusers:x:1002:alice,admin\n"
            .into(),
        gshadow:
            "root:*::\nreinstate-admin:!::admin\nreinstate-operator:!:alice:alice\nadmin:!::\nalice:!::\n"
                .into(),
    }
}

fn edit<T>(work: impl FnOnce(&mut Editor<'_>) -> Result<T, Failure>) -> Result<Texts, Failure> {
    let rules = rules();
    let mut editor = Editor { texts: texts(), rules: &rules, today: 20_000, retired: Vec::new() };
    work(&mut editor).map(|_| editor.texts)
}

fn new() -> NewAccounts {
    NewAccounts { shell: "/usr/bin/reinstate-shell".into(), home: "/".into() }
}

#[test]
fn a_password_changes_two_fields_of_one_line() {
    let after = edit(|editor| editor.set_password("alice", "$6$new")).unwrap();
    let shadow = texts().shadow.replace("alice:!$6$b:19800", "alice:$6$new:20000");
    assert_eq!(after, Texts { shadow, ..texts() });
    for nobody in ["root", "bob", ""] {
        let failure = edit(|editor| editor.set_password(nobody, "$6$new")).unwrap_err();
        assert_eq!(failure.code, Code::NotFound, "{nobody}");
    }
}

#[test]
fn a_new_user_has_the_first_free_number_a_group_of_its_own_and_its_access() {
    let after = edit(|editor| editor.add("bob", Access::Config, "$6$new", &new())).unwrap();
    let before = texts();
    // 1002 is a group's.
    assert_eq!(after.passwd, before.passwd + "bob:x:1003:1003::/:/usr/bin/reinstate-shell\n");
    assert_eq!(after.shadow, before.shadow + "bob:$6$new:20000:0:99999:7:::\n");
    assert_eq!(after.group, before.group.replace(":27:admin", ":27:admin,bob") + "bob:x:1003:\n");
    assert_eq!(after.gshadow, before.gshadow.replace("admin:!::admin", "admin:!::admin,bob") + "bob:!::\n");
    let full = edit(|editor| {
        editor.add("bob", Access::Basic, "$6$new", &new())?;
        editor.add("carol", Access::Basic, "$6$new", &new())
    });
    assert!(full.unwrap_err().message.contains("from 1000 to 1003"));
}

#[test]
fn a_name_that_is_taken_or_that_a_tool_would_take_for_something_else_is_refused() {
    for name in ["admin", "root", "users", "", "-x", "0day", "a:b", "a\nroot", "Alice", &"a".repeat(33)] {
        let failure = edit(|editor| editor.add(name, Access::Basic, "$6$new", &new())).unwrap_err();
        assert_eq!(failure.code, Code::BadRequest, "{name:?}");
    }
}

#[test]
fn access_is_the_group_that_somebody_is_in() {
    let after = edit(|editor| {
        assert_eq!(editor.access("admin"), Some(Access::Config));
        assert_eq!(editor.access("alice"), Some(Access::Basic));
        assert_eq!(editor.access("root"), None);
        editor.set_access("alice", Access::Config, "admin")?;
        assert_eq!(editor.access("alice"), Some(Access::Config));
        editor.set_access("alice", Access::Config, "admin")
    });
    let after = after.unwrap();
    assert!(
        after.group.contains(":27:admin,alice\n") && after.group.contains("operator:x:28:\n"),
        "{after:?}"
    );
    assert!(after.gshadow.contains("admin:!::admin,alice\n"), "{after:?}");
    assert!(after.gshadow.contains("operator:!:alice:\n"), "{after:?}");
}

#[test]
fn nobody_takes_config_access_from_the_own_account_even_where_others_have_it() {
    let two = |by: &'static str, access: Access| {
        edit(move |editor| {
            editor.set_access("alice", Access::Config, "admin")?;
            editor.set_password("alice", "$6$new")?;
            editor.set_access("admin", access, by)
        })
    };
    let own = two("admin", Access::Basic).unwrap_err();
    assert_eq!(own.code, Code::Forbidden);
    assert!(own.message.contains("'admin' cannot take config access from the own account"), "{own}");
    two("admin", Access::Config).unwrap();
    two("alice", Access::Basic).unwrap();
}

#[test]
fn somebody_with_config_access_is_always_left() {
    let demoted = edit(|editor| editor.set_access("admin", Access::Basic, "root")).unwrap_err();
    assert_eq!(demoted.code, Code::Forbidden);
    let deleted = edit(|editor| editor.delete("admin", "alice")).unwrap_err();
    assert!(deleted.message.contains("nobody would have config access"), "{deleted}");
    let locked = edit(|editor| {
        editor.set_access("alice", Access::Config, "admin")?;
        editor.delete("admin", "alice")
    });
    assert_eq!(locked.unwrap_err().code, Code::Forbidden, "no password lets alice in");
    let both = edit(|editor| {
        editor.set_access("alice", Access::Config, "admin")?;
        editor.set_password("alice", "$6$new")?;
        editor.delete("admin", "alice")
    });
    assert!(both.is_ok());
    let own = edit(|editor| editor.delete("alice", "alice")).unwrap_err();
    assert_eq!(own.code, Code::Forbidden);
}

#[test]
fn a_user_who_is_deleted_leaves_no_trace_and_no_other_line_changes() {
    let after = edit(|editor| editor.delete("alice", "admin")).unwrap();
    let Texts { passwd, shadow, group, gshadow } = texts();
    let without = |text: String| -> String {
        text.split_inclusive('\n').filter(|line| !line.starts_with("alice:")).collect()
    };
    let group = without(group).replace(":28:alice", ":28:").replace("alice,admin", "admin");
    let gshadow = without(gshadow).replace(":alice:alice", "::");
    assert_eq!(after, Texts { passwd: without(passwd), shadow: without(shadow), group, gshadow });
}

#[test]
fn the_number_of_a_user_who_is_gone_is_given_again_when_there_is_no_other() {
    let after = edit(|editor| {
        editor.delete("alice", "admin")?;
        assert_eq!(editor.retired, [1001]);
        editor.add("bob", Access::Basic, "$6$new", &new())?;
        editor.add("carol", Access::Basic, "$6$new", &new())
    });
    let passwd = after.unwrap().passwd;
    assert!(passwd.contains("bob:x:1003:") && passwd.contains("carol:x:1001:"), "{passwd}");
}
