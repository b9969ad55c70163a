//! The commands that only show.

use reinstate_api::{
    BackupEntry, Failure, HistoryEntry, JobView, Lock, Manager, NodeArchive, Outcome, PublicKey, Status,
    Version,
};

use crate::text::{bytes, table, time};
use crate::watch::{ended, noun, watch};
use crate::{Exit, Flow, Shell, details};

type Shown = Result<Flow, Vec<Failure>>;

const DONE: Shown = Ok(Flow::Next(Exit::Ok));

/// `Key                       : value`
pub fn field(shell: &mut Shell, key: &str, value: impl AsRef<str>) {
    shell.console.line(format!("{key:<26}: {}", value.as_ref()));
}

/// Goes to the running job, or shows the last one.
pub fn restore(shell: &mut Shell) -> Shown {
    let status: Status = shell.client.get("/v1/status")?;
    if let Some(job) = status.job.as_ref().filter(|job| job.outcome.is_none()) {
        running(shell, job, &status);
        return Ok(watch(shell, job.id));
    }
    last(shell, &status);
    DONE
}

/// The running or the last job with every path, without following it.
pub fn restore_detail(shell: &mut Shell) -> Shown {
    let status: Status = shell.client.get("/v1/status")?;
    match status.job.as_ref().filter(|job| job.outcome.is_none()) {
        Some(job) => {
            running(shell, job, &status);
            details::notes(&mut shell.console, &job.notes);
        }
        None => last(shell, &status),
    }
    if let Some(job) = &status.job {
        details::diff(&mut shell.console, &job.changes);
    }
    DONE
}

fn running(shell: &mut Shell, job: &JobView, status: &Status) {
    field(shell, "Job", noun(job.kind));
    field(shell, "Source", &job.source);
    field(shell, "Asked for by", &job.by);
    field(shell, "Started", time(job.started));
    field(shell, "Phase", job.phase.as_str());
    if let Some(until) = job.confirm_until {
        field(shell, "Confirm until", time(until));
    }
    standing(shell, status);
}

fn standing(shell: &mut Shell, status: &Status) {
    let previous = status.previous.map_or_else(
        || "there is none to roll back to".to_owned(),
        |previous| format!("`restore rollback` goes back to {previous}"),
    );
    field(shell, "Generation", format!("{} ({previous})", status.active));
    for (key, value) in status.checkin.iter().flat_map(details::checkin) {
        field(shell, key, value);
    }
    let lock = status.lock.as_ref().map_or_else(|| "not taken".to_owned(), describe);
    field(shell, "Restore lock", lock);
    for warning in &status.warnings {
        shell.console.line(format!("Warning: {warning}"));
    }
}

pub fn describe(lock: &Lock) -> String {
    let Lock { hostname, by, since, phase, .. } = lock;
    format!("held by {hostname}, asked for by {by}, since {}, {phase}", time(*since))
}

/// The last job: the one on record, or a later one that is not on record.
fn last(shell: &mut Shell, status: &Status) {
    // It has not ended, and is not followed: only a boot can do more.
    if let Some((job, outcome)) = broken(status) {
        running(shell, job, status);
        details::notes(&mut shell.console, &job.notes);
        ended(shell, job.kind, outcome);
        return;
    }
    let job = status.job.as_ref().filter(|job| {
        let on_record = status.last.as_ref().is_some_and(|last| Some(last.ended) >= job.ended);
        !on_record
    });
    let (kind, source, by, phase, started, stopped, notes, outcome) = match (job, &status.last) {
        (
            Some(JobView {
                kind,
                source,
                by,
                phase,
                started,
                ended: Some(ended),
                notes,
                outcome: Some(outcome),
                ..
            }),
            _,
        ) => (kind, source, by, phase, started, ended, notes, outcome),
        (_, Some(HistoryEntry { kind, source, by, phase, started, ended, notes, outcome, .. })) => {
            (kind, source, by, phase, started, ended, notes, outcome)
        }
        (_, None) => {
            shell.console.line("There was no restore on this appliance.");
            standing(shell, status);
            return;
        }
    };
    field(shell, "Job", noun(*kind));
    field(shell, "Source", source);
    field(shell, "Asked for by", by);
    field(shell, "Started", time(*started));
    field(shell, "Ended", time(*stopped));
    field(shell, "Last phase", phase.as_str());
    field(shell, "Result", outcome.as_str());
    standing(shell, status);
    details::notes(&mut shell.console, notes);
    ended(shell, *kind, outcome);
    // Also after a later job that has left the restore's configuration live.
    if let Some(tasks) = &status.tasks {
        details::tasks(&mut shell.console, tasks);
    }
}

/// The job that has left neither configuration whole.
pub fn broken(status: &Status) -> Option<(&JobView, &Outcome)> {
    let job = status.job.as_ref()?;
    job.outcome.as_ref().filter(|outcome| matches!(outcome, Outcome::Broken { .. })).map(|o| (job, o))
}

pub fn restore_history(shell: &mut Shell) -> Shown {
    let history: Vec<HistoryEntry> = shell.client.get("/v1/history")?;
    if history.is_empty() {
        shell.console.line("There was no restore on this appliance.");
        return DONE;
    }
    let mut rows = vec![["Ended", "Job", "Result", "Generation", "By", "Source"].map(str::to_owned).to_vec()];
    for entry in &history {
        let codes: Vec<&str> = entry.outcome.failures().iter().map(|failure| failure.code.as_str()).collect();
        let result = match codes.is_empty() {
            true => entry.outcome.as_str().to_owned(),
            false => format!("{} ({})", entry.outcome.as_str(), codes.join(", ")),
        };
        let generation = match entry.from == entry.to {
            true => entry.from.to_string(),
            false => format!("{} to {}", entry.from, entry.to),
        };
        let (kind, by, source) = (noun(entry.kind).to_owned(), entry.by.clone(), entry.source.clone());
        rows.push(vec![time(entry.ended), kind, result, generation, by, source]);
    }
    lines(shell, &rows, &[])
}

pub fn backups(shell: &mut Shell) -> Shown {
    let backups: Vec<BackupEntry> = shell.client.get("/v1/backups")?;
    if backups.is_empty() {
        shell.console.line("There are no backups on this appliance. `backup create` makes one.");
        return DONE;
    }
    let mut rows = vec![["File", "Size", "Date", "Hostname", "Version"].map(str::to_owned).to_vec()];
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
        rows.push(vec![backup.file.clone(), bytes(backup.bytes), time(backup.modified), hostname, version]);
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
    let date = created.map(time).unwrap_or_default();
    let version = match problem.as_str() {
        "" => format!("{}, {role}", details::version(version, build)),
        problem => format!("not usable: {problem}"),
    };
    vec![format!("  {file}"), bytes(*size), date, hostname.clone(), version]
}

fn lines(shell: &mut Shell, rows: &[Vec<String>], right: &[usize]) -> Shown {
    for line in table(rows, right) {
        shell.console.line(line);
    }
    DONE
}

pub fn version(shell: &mut Shell) -> Shown {
    const WIDTH: usize = 60;
    let about: Version = shell.client.get("/v1/version")?;
    let model = match about.product.as_str() {
        "" => about.model.clone(),
        product if product == about.model => about.model.clone(),
        product => format!("{product} ({})", about.model),
    };
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
            field(shell, key, value);
        }
    }
    DONE
}

pub fn public_key(shell: &mut Shell) -> Shown {
    let key: PublicKey = shell.client.get("/v1/public-key")?;
    shell.console.line(key.line);
    DONE
}
