//! The appliance as a machine: who answers, restarts, and the way to the operating system.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use reinstate_api::{Expert, ExpertEntry, Failure, PingRequest, Pinged};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::question::agreed;
use crate::signals::Wake;
use crate::{Exit, Flow, Shell, confine, details};

type Done = Result<Flow, Vec<Failure>>;

/// Between two echo requests.
const SECOND: Duration = Duration::from_secs(1);

/// Asks once a second, so many times, or until Ctrl-C.
pub fn ping(shell: &mut Shell, host: &str, count: u16) -> Done {
    let (mut sent, mut received, mut times) = (0, 0, Vec::new());
    for sequence in 1..=count {
        let begun = Instant::now();
        let request = PingRequest { host: host.to_owned(), sequence };
        let Pinged { address, time } = shell.client.post("/v1/ping", &request)?;
        sent += 1;
        shell.console.line(match time {
            Some(time) => format!("Answer from {address}: sequence {sequence}, time {time:.3} ms"),
            None => format!("No answer from {address}: sequence {sequence}"),
        });
        received += usize::from(time.is_some());
        times.extend(time);
        let rest = SECOND.saturating_sub(begun.elapsed());
        if sequence < count && !matches!(shell.signals.wait(&[], Some(rest)), Wake::Timeout) {
            break;
        }
    }
    let lost = 100 * (sent - received) / sent.max(1);
    shell.console.line(format!("{sent} sent, {received} received, {lost}% lost"));
    if !times.is_empty() {
        let least = times.iter().copied().fold(f64::INFINITY, f64::min);
        let most = times.iter().copied().fold(0.0, f64::max);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        shell.console.line(format!("Time least {least:.3} ms, mean {mean:.3} ms, most {most:.3} ms"));
    }
    Ok(Flow::Next(if received > 0 { Exit::Ok } else { Exit::Failed }))
}

pub fn reboot(shell: &mut Shell) -> Done {
    down(shell, "This command will reboot the system. Continue?", "/v1/reboot", "for reboot")
}

pub fn shutdown(shell: &mut Shell) -> Done {
    down(shell, "This command will shut down the system. Continue?", "/v1/shutdown", "to power off")
}

fn down(shell: &mut Shell, question: &str, route: &str, why: &str) -> Done {
    shell.console.line(question);
    if !agreed(shell, "Please enter 'YES' or 'NO': ") {
        return Ok(Flow::Next(Exit::Failed));
    }
    shell.client.post::<IgnoredAny>(route, &json!({}))?;
    shell.console.line(format!("The system is going down {why} NOW!"));
    Ok(Flow::Leave(Exit::Ok))
}

/// Becomes the program that the profile names. Nothing that was typed reaches it.
pub fn expert(shell: &mut Shell) -> Done {
    let entry = ExpertEntry { confined: shell.confined };
    let Expert { text, command } = shell.client.post("/v1/expert", &entry)?;
    details::paragraphs(&mut shell.console, &text);
    let Some((program, arguments)) = command.split_first() else {
        shell.console.line("The product names no program for it.");
        return Ok(Flow::Next(Exit::Failed));
    };
    let term = std::env::var("TERM").unwrap_or_default();
    shell.console.leave_terminal();
    shell.history.keep();
    if let Some(lasting) = &shell.lasting {
        lasting.outlives();
    }
    let environment = [("PATH", confine::PATH), ("TERM", &term)];
    let error = Command::new(program).args(arguments).env_clear().envs(environment).exec();
    shell.console.line(format!("Error: {program} cannot be started: {error} [io]"));
    Ok(Flow::Leave(Exit::Failed))
}
