//! The admin's login shell.

fn main() -> std::process::ExitCode {
    reinstate_shell::run(std::env::args_os())
}
