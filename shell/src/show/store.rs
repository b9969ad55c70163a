//! What is stored: backups, and configurations.

use reinstate_api::{BackupEntry, Configuration, Created, DomainChange, NodeArchive};
use serde_json::json;

use super::{DONE, Shown, lines};
use crate::text::{bytes, minute};
use crate::{Shell, details};

pub fn backups(shell: &mut Shell) -> Shown {
    let backups: Vec<BackupEntry> = shell.client.get("/v1/backups")?;
    if backups.is_empty() {
        shell.console.line("There are no backups on this appliance. `backup create` makes one.");
        return DONE;
    }
    let mut rows = vec![["File", "Size", "Date (UTC)", "Hostname", "Version"].map(str::to_owned).to_vec()];
    for backup in &backups {
        let (hostname, version) = match (&backup.details, &backup.bundle) {
            (Some(about), _) => (
                about.device.hostname.clone(),
                details::version(&about.software.version, &about.software.build),
            ),
            (None, Some(bundle)) => (bundle.cluster.clone(), "bundle of archives".to_owned()),
            (None, None) if backup.partial => (String::new(), "download that has not ended".to_owned()),
            (None, None) => (String::new(), format!("not usable: {}", backup.problem)),
        };
        rows.push(vec![backup.file.clone(), bytes(backup.bytes), minute(backup.modified), hostname, version]);
        rows.extend(backup.bundle.iter().flat_map(|bundle| &bundle.archives).map(packed));
    }
    lines(shell, &rows, &[1])?;
    if backups.iter().any(|backup| backup.bundle.is_some()) {
        shell.console.line("`backup extract BUNDLE [NODE]` takes archives out of a bundle.");
    }
    DONE
}

/// A row for an archive in a bundle.
fn packed(archive: &NodeArchive) -> Vec<String> {
    let NodeArchive { file, bytes: size, hostname, role, created, version, build, problem, .. } = archive;
    let date = created.map(minute).unwrap_or_default();
    let version = match problem.as_str() {
        "" => format!("{}, {role}", details::version(version, build)),
        problem => format!("not usable: {problem}"),
    };
    vec![format!("  {file}"), bytes(*size), date, hostname.clone(), version]
}

pub fn configurations(shell: &mut Shell) -> Shown {
    let configurations: Vec<Configuration> = shell.client.get("/v1/configurations")?;
    if configurations.is_empty() {
        shell.console.line("There are no configurations in the store.");
        return DONE;
    }
    let head = ["Number", "Name", "Created (UTC)", "Hostname", "Address", "State", "Origin"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for one in configurations {
        let state = match (one.active, one.previous) {
            (true, _) => "active",
            (false, true) => "previous",
            (false, false) => "",
        };
        let management = one.management.join(", ");
        rows.push(vec![
            one.number.to_string(),
            one.name,
            minute(one.created),
            one.hostname,
            management,
            state.to_owned(),
            one.origin,
        ]);
    }
    lines(shell, &rows, &[0])
}

pub fn difference(shell: &mut Shell, route: &str) -> Shown {
    let changes: Vec<DomainChange> = shell.client.get(route)?;
    match changes.iter().all(DomainChange::is_empty) {
        true => shell.console.line("Nothing would change."),
        false => details::diff(&mut shell.console, &changes),
    }
    DONE
}

pub fn tech_support(shell: &mut Shell) -> Shown {
    let Created { file, bytes: size } = shell.client.post("/v1/tech-support", &json!({}))?;
    shell.console.line(format!("{file} is in the backup folder now ({}).", bytes(size)));
    shell.console.line("It holds no passwords and no private keys. Copy it off with scp or sftp.");
    DONE
}
