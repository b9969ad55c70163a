//! The sandbox's command line.

use std::path::PathBuf;

use lexopt::prelude::*;

use crate::Result;

pub const USAGE: &str = "\
A failed appliance and its replacement over two folders, a backup server on loopback, and the
admin's shell on the replacement.

usage: cargo run --release --bin sandbox -- [OPTION]...

  --run COMMAND        type COMMAND in the shell, answer its questions, show what it says; may be
                       repeated. In COMMAND, {location} is the backup server as `location` wants it,
                       {file} the backup's file name, {fingerprint} the server's host key. The host
                       key is answered `yes`, a password with the server's, Y/N with Y. The exit
                       status is not zero if anything failed.
  --keep DIR           keep everything in DIR, which must be empty or missing
  --profile DIR        a vendor's profile.d and domains.d, instead of the reference appliance's
  --root TREE          a vendor's tree: the failed appliance is a copy of it
  --replacement TREE   the replacement is a copy of this one; without it, of the first, with
                       another serial number
  --help               print this

example: --run 'restore remote-manager-backup location {location} backup {file}'
";

#[derive(Debug, Default, PartialEq)]
pub struct Options {
    pub run: Vec<String>,
    pub keep: Option<PathBuf>,
    pub profile: Option<PathBuf>,
    pub root: Option<PathBuf>,
    pub replacement: Option<PathBuf>,
}

impl Options {
    /// None where only the usage was asked for.
    pub fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>> {
        let mut options = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("run") => options.run.push(parser.value()?.string()?),
                Long("keep") => options.keep = Some(parser.value()?.into()),
                Long("profile") => options.profile = Some(parser.value()?.into()),
                Long("root") => options.root = Some(parser.value()?.into()),
                Long("replacement") => options.replacement = Some(parser.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        if options.replacement.is_some() && options.root.is_none() {
            return Err("--replacement needs --root".into());
        }
        Ok(Some(options))
    }
}
