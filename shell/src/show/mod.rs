//! The commands that only show.

mod appliance;
mod group;
mod network;
mod restore;
mod store;

use reinstate_api::Failure;
use serde_json::{Value, json};

use crate::grammar::View;
use crate::text::table;
use crate::{Exit, Flow, Shell, lock};

pub use restore::{broken, describe};

pub type Shown = Result<Flow, Vec<Failure>>;

const DONE: Shown = Ok(Flow::Next(Exit::Ok));

/// Columns of a frame.
const WIDTH: usize = 60;

/// Shows it, in words or as the API says it.
pub fn show(shell: &mut Shell, view: View, as_json: bool) -> Shown {
    let route = view.route();
    if as_json {
        let value: Value = match view {
            View::TechSupport => shell.client.post(&route, &json!({}))?,
            View::Interface(Some(name)) => json!([network::interface_named(shell, &name)?]),
            _ => shell.client.get(&route)?,
        };
        for line in json_lines(&value) {
            shell.console.line(line);
        }
        return DONE;
    }
    match view {
        View::Restore => restore::restore(shell),
        View::RestoreDetail => restore::restore_detail(shell),
        View::RestoreHistory => restore::restore_history(shell),
        View::RestoreLock => lock::show(shell),
        View::RestoreLog(_) => restore::log(shell, &route),
        View::Backups => store::backups(shell),
        View::Configurations => store::configurations(shell),
        View::ConfigurationDiff(_) => store::difference(shell, &route),
        View::TechSupport => store::tech_support(shell),
        View::Version => appliance::version(shell),
        View::Model => appliance::model(shell),
        View::Managers => appliance::managers(shell),
        View::PublicKey => appliance::public_key(shell),
        View::Time => appliance::time_(shell),
        View::Disk => appliance::disk(shell),
        View::Users => appliance::users(shell),
        View::Ssh => network::ssh(shell),
        View::Network => network::network(shell),
        View::Interface(name) => network::interfaces(shell, name.as_deref()),
        View::HighAvailability => group::pair(shell),
        View::Cluster => group::cluster(shell),
    }
}

impl View {
    /// Where the API has it.
    fn route(&self) -> String {
        let route = match self {
            View::Restore
            | View::RestoreDetail
            | View::RestoreLock
            | View::HighAvailability
            | View::Cluster => "/v1/status",
            View::RestoreHistory => "/v1/history",
            View::RestoreLog(lines) => return format!("/v1/log?lines={lines}"),
            View::Backups => "/v1/backups",
            View::Configurations => "/v1/configurations",
            View::ConfigurationDiff(name) => return format!("/v1/configurations/{name}/diff"),
            View::TechSupport => "/v1/tech-support",
            View::Version | View::Model => "/v1/version",
            View::Managers => "/v1/managers",
            View::PublicKey => "/v1/public-key",
            View::Time => "/v1/time",
            View::Disk => "/v1/disk",
            View::Users => "/v1/users",
            View::Ssh => "/v1/ssh",
            View::Network => "/v1/network",
            View::Interface(_) => "/v1/interfaces",
        };
        route.to_owned()
    }
}

/// JSON in lines, of plain characters: whatever else is in it is written as JSON's own escapes.
fn json_lines(value: &Value) -> Vec<String> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | ' '..='~' => plain.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| plain += &format!("\\u{unit:04x}")),
        }
    }
    plain.lines().map(str::to_owned).collect()
}

/// `Key                       : value`
pub fn field(shell: &mut Shell, key: &str, value: impl AsRef<str>) {
    shell.console.line(format!("{key:<26}: {}", value.as_ref()));
}

/// The same of a sentence, which may be longer than a line.
pub fn sentence(shell: &mut Shell, key: &str, value: impl AsRef<str>) {
    shell.console.indented(&format!("{key:<26}: "), value);
}

/// A table, the columns of numbers to the right.
fn lines(shell: &mut Shell, rows: &[Vec<String>], right: &[usize]) -> Shown {
    let width = shell.console.width();
    for line in table(rows, right, width) {
        shell.console.line(line);
    }
    DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json_whatever_is_in_it() {
        let value = json!({"name": "a\u{202e}b\u{1b}[2J😀é", "n": [1, null]});
        let lines = json_lines(&value);
        assert!(lines.iter().all(|line| *line == reinstate_api::one_line(line) && line.is_ascii()));
        assert_eq!(serde_json::from_str::<Value>(&lines.join("\n")).unwrap(), value);
    }
}
