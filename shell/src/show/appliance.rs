//! What the appliance is, its people, its clock and its disk.

use reinstate_api::{Disk, Manager, PublicKey, Time, UserView, Version};

use super::{DONE, Shown, WIDTH, field, lines, sentence};
use crate::text::{bytes, span, time};
use crate::{Shell, details};

pub fn version(shell: &mut Shell) -> Shown {
    let about: Version = shell.client.get("/v1/version")?;
    let model = model_of(&about);
    let software = details::version(&about.version, &about.build);
    let host = format!("[ {} ]", about.hostname);
    shell.console.line(format!("{host:-^WIDTH$}"));
    field(shell, "Model", format!("{model} Version {software}"));
    field(shell, "UUID", &about.uuid);
    let more = [
        ("Patch", about.patch),
        ("Hotfixes", about.hotfixes.join(", ")),
        ("Serial", about.serial),
        ("Management address", about.management.join(", ")),
        ("Restore agent", about.reinstate),
    ];
    for (key, value) in more.iter().filter(|(_, value)| !value.is_empty()) {
        field(shell, key, value);
    }
    shell.console.line("-".repeat(WIDTH));
    DONE
}

pub fn managers(shell: &mut Shell) -> Shown {
    let managers: Vec<Manager> = shell.client.get("/v1/managers")?;
    if managers.is_empty() {
        shell.console.line("No managers configured.");
    }
    for manager in &managers {
        field(shell, "Host", &manager.host);
        field(shell, "Display name", &manager.name);
        field(shell, "Identifier", &manager.device_uuid);
        field(shell, "Registration", &manager.state);
        for (key, value) in manager.checkin.iter().flat_map(details::checkin) {
            sentence(shell, key, value);
        }
    }
    DONE
}

pub fn public_key(shell: &mut Shell) -> Shown {
    let key: PublicKey = shell.client.get("/v1/public-key")?;
    shell.console.line(key.line);
    DONE
}

fn model_of(about: &Version) -> String {
    match about.product.as_str() {
        "" => about.model.clone(),
        product if product == about.model => about.model.clone(),
        product => format!("{product} ({})", about.model),
    }
}

pub fn model(shell: &mut Shell) -> Shown {
    let about: Version = shell.client.get("/v1/version")?;
    field(shell, "Model", model_of(&about));
    DONE
}

pub fn time_(shell: &mut Shell) -> Shown {
    let Time { now, zone, synchronized, uptime } = shell.client.get("/v1/time")?;
    field(shell, "UTC", time(now));
    field(shell, "Time zone", zone);
    let kept = match synchronized {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not known",
    };
    field(shell, "Synchronized", kept);
    let days = uptime / 86_400;
    let rest = span(std::time::Duration::from_secs(uptime % 86_400));
    field(shell, "Up", if days > 0 { format!("{days} days, {rest}") } else { rest });
    DONE
}

pub fn disk(shell: &mut Shell) -> Shown {
    let disk: Disk = shell.client.get("/v1/disk")?;
    let mut rows = vec![["File system", "Size", "Free", "Inodes", "Free inodes"].map(str::to_owned).to_vec()];
    for one in &disk.file_systems {
        let inodes = [one.inodes, one.free_inodes].map(|count| count.to_string());
        rows.push([vec![one.path.clone(), bytes(one.size), bytes(one.free)], inodes.to_vec()].concat());
    }
    lines(shell, &rows, &[1, 2, 3, 4])?;
    field(shell, "Backups", bytes(disk.backups));
    field(shell, "Configurations", bytes(disk.configurations));
    DONE
}

pub fn users(shell: &mut Shell) -> Shown {
    let users: Vec<UserView> = shell.client.get("/v1/users")?;
    let mut rows = vec![["Name", "UID", "Access", "Password"].map(str::to_owned).to_vec()];
    for user in users {
        let access = user.access.map_or("none", reinstate_api::Access::as_str);
        let password = if user.locked { "locked" } else { "set" };
        rows.push(vec![user.name, user.uid.to_string(), access.to_owned(), password.to_owned()]);
    }
    lines(shell, &rows, &[1])
}
