//! The benchmark, and in the same binary the agent and the shell that it measures.

use std::process::ExitCode;

fn main() -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("bench: cannot find its own program: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut words = std::env::args_os().skip(1).peekable();
    match words.peek().and_then(|word| word.to_str()) {
        Some("reinstated") => {
            let prefix = vec![program.into_os_string(), "reinstated".into()];
            reinstate_agent::cli::run_as(prefix, words.skip(1))
        }
        // It expects its own name first.
        Some("shell") => reinstate_shell::run(words),
        Some("receive") => reinstate_tests::bench::receive(words.skip(1)),
        _ => reinstate_tests::bench::run(&program),
    }
}
