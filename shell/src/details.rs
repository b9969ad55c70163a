//! What is shown before the question: the backup, the caution, what will change.

use reinstate_api::{
    Accepted, Acknowledged, BackupDetails, CheckIn, DomainChange, JobKind, JobView, Role, Tasks, Texts,
};

use crate::terminal::Console;
use crate::text::{bytes, table, time, wrap};

pub const WIDTH: usize = 79;

/// Everything that an admin should know before answering.
pub fn before_question(console: &mut Console, job: &JobView, texts: &Texts) {
    if let Some(details) = &job.details {
        backup(console, details);
    }
    if job.kind == JobKind::Restore && !texts.caution.is_empty() {
        console.line(format!("{:*^WIDTH$}", " Caution "));
        paragraphs(console, &texts.caution);
        console.line("*".repeat(WIDTH));
    }
    if !job.changes.is_empty() {
        summary(console, &job.changes);
        console.line("Every path is listed by `show restore detail`.");
    }
    if !job.notes.is_empty() {
        console.line("To be noted:");
        notes(console, &job.notes);
    }
}

fn backup(console: &mut Console, details: &BackupDetails) {
    let BackupDetails { hardware, device, software, .. } = details;
    let manager = details.manager.as_ref();
    let role = match device.role {
        Role::Standalone => "NONE".to_owned(),
        role => role.as_str().to_uppercase(),
    };
    let device_name = manager.map_or("", |m| &m.name);
    let lines = [
        ("Model", hardware.model.clone()),
        ("Software Version", version(&software.version, &software.build)),
        ("Patch", software.patch.clone()),
        ("Hotfixes", software.hotfixes.join(", ")),
        ("Serial", hardware.serial.clone()),
        ("Hostname", device.hostname.clone()),
        ("Device Name", device.hostname.clone()),
        ("Device UUID", device.uuid.clone()),
        ("IP Address", device.management.join(", ")),
        ("Role", role),
        ("Manager IP(s)", manager.map_or_else(String::new, |m| m.host.clone())),
        ("Manager Name", device_name.to_owned()),
        ("Licence", details.licence.clone()),
        ("Backup Date", time(details.created)),
        ("Backup Filename", details.file.clone()),
        ("Backup Content", format!("{} files, {}", details.files, bytes(details.bytes))),
    ];
    console.line("*".repeat(WIDTH));
    console.line("Backup Details");
    console.line("*".repeat(WIDTH));
    // The first ten are what scripts read, empty or not.
    let always =
        |key: &str| !matches!(key, "Patch" | "Hotfixes" | "Device UUID" | "Manager Name" | "Licence");
    for (key, value) in lines {
        if always(key) || !value.is_empty() {
            console.line(format!("{key} = {value}"));
        }
    }
    console.line("*".repeat(WIDTH));
}

/// `7.4.1 (Build 172)`
pub fn version(version: &str, build: &str) -> String {
    match build {
        "" => version.to_owned(),
        build => format!("{version} (Build {build})"),
    }
}

pub fn paragraphs(console: &mut Console, paragraphs: &[String]) {
    for paragraph in paragraphs {
        for line in wrap(paragraph, WIDTH) {
            console.line(line);
        }
    }
}

pub fn notes(console: &mut Console, notes: &[String]) {
    for note in notes {
        for (i, line) in wrap(note, WIDTH - 4).iter().enumerate() {
            console.line(format!("  {} {line}", if i == 0 { "-" } else { " " }));
        }
    }
}

/// What is left to do by hand after a restore, and whether somebody has taken note of it.
pub fn tasks(console: &mut Console, tasks: &Tasks) {
    if tasks.texts.is_empty() && tasks.enrol.is_empty() {
        return;
    }
    console.line(format!("To be done after the restore of {}:", time(tasks.since)));
    notes(console, &tasks.texts);
    notes(console, &tasks.enrol);
    match &tasks.acknowledged {
        Some(Acknowledged { by, at }) => {
            console.line(format!("Acknowledged by {by}, {}.", time(*at)));
        }
        None => console.line("`configure tasks acknowledge` ends this reminder."),
    }
}

/// How far the manager has been told of a restore.
pub fn checkin(checkin: &CheckIn) -> Vec<(&'static str, String)> {
    if let Some(Accepted { at, answer }) = &checkin.accepted {
        return vec![("Check-in", format!("accepted, {}: {answer}", time(*at)))];
    }
    let mut lines = vec![("Check-in", format!("the manager is to be told since {}", time(checkin.since)))];
    if let (Some(last), Some(failure)) = (checkin.last, &checkin.failure) {
        let nth = format!("{}, attempt {}: {failure} [{}]", time(last), checkin.attempts, failure.code);
        lines.push(("Last attempt", nth));
        if !failure.hint.is_empty() {
            lines.push(("Hint", failure.hint.clone()));
        }
    }
    lines.extend(checkin.next.map(|next| ("Next attempt", time(next))));
    lines
}

/// What changes, by domain, in numbers; and by name what is taken off for good.
pub fn summary(console: &mut Console, changes: &[DomainChange]) {
    let mut rows = vec![["Domain", "Restore", "Added", "Changed", "Removed"].map(str::to_owned).to_vec()];
    rows.extend(changes.iter().map(|change| {
        let count = |paths: &[String]| match change.policy.as_str() {
            "absent" | "keep" => "-".to_owned(),
            _ => paths.len().to_string(),
        };
        vec![
            change.domain.clone(),
            policy(&change.policy).to_owned(),
            count(&change.added),
            count(&change.changed),
            count(&change.removed),
        ]
    }));
    console.line("What will change:");
    for line in table(&rows, &[2, 3, 4], None) {
        console.line(format!("  {line}"));
    }
    for change in changes.iter().filter(|change| change.policy == "remove" && !change.removed.is_empty()) {
        console.line(format!("Taken off, to be enrolled again ({}):", change.domain));
        for path in &change.removed {
            console.line(format!("  {path}"));
        }
    }
}

/// What changes, path by path.
pub fn diff(console: &mut Console, changes: &[DomainChange]) {
    for change in changes {
        let what = match change.policy.as_str() {
            "absent" => ": left alone, the backup does not hold it".to_owned(),
            "keep" => ": left alone, it is not backed up".to_owned(),
            _ if change.is_empty() => format!(" ({}): no change", change.policy),
            "remove" => " (remove): taken off, to be enrolled again".to_owned(),
            policy => format!(" ({policy})"),
        };
        console.line(format!("{}{what}", change.domain));
        let groups = [("added", &change.added), ("changed", &change.changed), ("removed", &change.removed)];
        for (verb, paths) in groups {
            for path in paths {
                console.line(format!("  {verb:<7}  {path}"));
            }
        }
    }
}

fn policy(policy: &str) -> &str {
    match policy {
        "absent" => "left alone",
        policy => policy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::tests::console;

    fn change(domain: &str, policy: &str, removed: &[&str]) -> DomainChange {
        DomainChange {
            domain: domain.into(),
            policy: policy.into(),
            added: vec!["etc/a".into()],
            removed: removed.iter().map(|path| (*path).into()).collect(),
            ..DomainChange::default()
        }
    }

    #[test]
    fn what_goes_for_good_is_named_even_in_the_summary() {
        let (mut console, paper) = console(b"");
        summary(
            &mut console,
            &[
                change("network", "replace", &["etc/old"]),
                change("vpn", "remove", &["etc/swanctl/x509/site-a.pem"]),
            ],
        );
        assert_eq!(
            paper.text(),
            "What will change:\n\
             \x20 Domain   Restore  Added  Changed  Removed\n\
             \x20 network  replace      1        0        1\n\
             \x20 vpn      remove       1        0        1\n\
             Taken off, to be enrolled again (vpn):\n\
             \x20 etc/swanctl/x509/site-a.pem\n"
        );
    }

    #[test]
    fn a_diff_names_every_path_and_what_is_left_alone() {
        let (mut console, paper) = console(b"");
        let absent = DomainChange { domain: "ha".into(), policy: "absent".into(), ..DomainChange::default() };
        diff(&mut console, &[change("network", "replace", &["etc/b"]), absent]);
        assert_eq!(
            paper.text(),
            "network (replace)\n  added    etc/a\n  removed  etc/b\nha: left alone, the backup does not hold it\n"
        );
    }
}
