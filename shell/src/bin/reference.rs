//! Writes the command reference and the manual page anew.

use std::path::Path;

use reinstate_shell::reference;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::write(folder.join("COMMANDS.md"), reference::markdown())?;
    std::fs::write(folder.join("reinstate-shell.1"), reference::manual())
}
