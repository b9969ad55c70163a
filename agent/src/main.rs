use std::process::ExitCode;

fn main() -> ExitCode {
    let program = std::env::current_exe().unwrap_or_else(|_| "/usr/sbin/reinstated".into());
    reinstate_agent::cli::run_as(vec![program.into()], std::env::args_os().skip(1))
}
