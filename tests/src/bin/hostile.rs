//! Hostile archives, staged by the agent's own code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("hostile: cannot find its own program: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut words = std::env::args_os().skip(1).peekable();
    match words.peek().and_then(|word| word.to_str()) {
        Some("one") => reinstate_tests::hostile::one(words.skip(1)),
        _ => reinstate_tests::hostile::run(&program),
    }
}
