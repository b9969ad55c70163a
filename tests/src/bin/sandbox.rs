//! The sandbox, and in the same binary the agent and the shell that it starts.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Where a test has put it in the place of a program, it is that program.
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(OsStr::to_str) {
        Some("sftp" | "reinstate-sftp") => return reinstate_sftp::run(std::env::args_os()),
        Some("reinstate-shell" | "-reinstate-shell") => return reinstate_shell::run(std::env::args_os()),
        _ => {}
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("sandbox: cannot find its own program: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut words = std::env::args_os().skip(1).peekable();
    match words.peek().and_then(|word| word.to_str()) {
        Some("reinstated") => {
            let prefix = vec![program.into_os_string(), "reinstated".into()];
            reinstate_agent::cli::run_as(prefix, words.skip(1))
        }
        Some("fault") => reinstate_tests::fault::run(program, words.skip(1)),
        // Each expects its own name first.
        Some("shell") => reinstate_shell::run(words),
        Some("sftp") => reinstate_sftp::run(words),
        _ => reinstate_tests::sandbox::run(&program),
    }
}
