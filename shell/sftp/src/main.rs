//! What sshd starts for `sftp` and `scp`.

fn main() -> std::process::ExitCode {
    reinstate_sftp::run(std::env::args_os())
}
