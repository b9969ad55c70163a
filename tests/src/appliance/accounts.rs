//! The account database: the image's system accounts, and the people's.

use std::collections::BTreeMap;

use super::tree::Tree;
use super::{Appliance, derived};

/// System groups whose numbers differ between image builds.
const FLOATING: [&str; 4] = ["ssl-cert", "systemd-network", "systemd-resolve", "reinstate"];

pub fn groups(first_gid: u32) -> BTreeMap<String, u32> {
    let fixed = [
        ("root", 0),
        ("daemon", 1),
        ("reinstate-admin", 27),
        ("reinstate-operator", 28),
        ("shadow", 42),
        ("nogroup", 65534),
    ];
    let floating = FLOATING.into_iter().zip(first_gid - 3..);
    let all = fixed.into_iter().chain(floating);
    all.map(|(name, gid)| (name.to_owned(), gid)).collect()
}

struct Person {
    name: &'static str,
    uid: u32,
    comment: &'static str,
    is_admin: bool,
}

const ADMIN: Person = Person { name: "admin", uid: 1000, comment: "Administrator", is_admin: true };

fn people(appliance: &Appliance) -> [Person; 2] {
    let other = match appliance.in_service {
        true => Person { name: "alice", uid: 1001, comment: "Alice, network operations", is_admin: false },
        false => Person { name: "installer", uid: 1001, comment: "First installation", is_admin: true },
    };
    [ADMIN, other]
}

pub fn write(appliance: &Appliance, tree: &mut Tree) {
    let groups = groups(appliance.first_system_gid);
    let people = people(appliance);
    let mut passwd = String::from(
        "root:x:0:0:root:/root:/usr/bin/bash\n\
         daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
         sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n",
    );
    let mut shadow = String::from(
        "root:*:19800:0:99999:7:::\ndaemon:*:19800:0:99999:7:::\n\
         nobody:*:19800:0:99999:7:::\nsshd:!:19800::::::\n",
    );
    for name in &FLOATING[1..] {
        let id = groups[*name];
        passwd += &format!("{name}:x:{id}:{id}::/:/usr/sbin/nologin\n");
        shadow += &format!("{name}:!*:19800::::::\n");
    }
    for Person { name, uid, comment, .. } in &people {
        passwd += &format!("{name}:x:{uid}:{uid}:{comment}:/home/{name}:/usr/bin/reinstate-shell\n");
        let hash = derived(appliance.seed, name);
        shadow += &format!(
            "{name}:$6${:.16}${}{:.22}:19950:0:99999:7:::\n",
            &hash[48..],
            hash,
            derived(appliance.seed + 1, name)
        );
    }
    let (mut group, mut gshadow) = (String::new(), String::new());
    for (name, gid) in &groups {
        let admins = people.iter().filter(|p| p.is_admin && name == "reinstate-admin");
        let members: Vec<_> = admins.map(|person| person.name).collect();
        let members = members.join(",");
        group += &format!("{name}:x:{gid}:{members}\n");
        gshadow += &format!("{name}:*::{members}\n");
    }
    for Person { name, uid, .. } in &people {
        group += &format!("{name}:x:{uid}:\n");
        gshadow += &format!("{name}:!::\n");
    }
    tree.file("etc/passwd", passwd, 0o644);
    tree.group_file("etc/shadow", shadow, "shadow");
    tree.file("etc/group", group, 0o644);
    tree.group_file("etc/gshadow", gshadow, "shadow");
}
