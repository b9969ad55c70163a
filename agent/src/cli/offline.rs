//! The verbs that need no appliance.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use reinstate_api::{Code, Failure, Secret};

use super::appliance::{block_on, forbid_dumps};
use crate::checkin::{self, Telling};
use crate::configure::passwords;
use crate::files::{Folder, Steps};
use crate::profile;

/// More bytes than any password that is taken has.
const MAX_PASSWORD: u64 = 4 << 10;

/// It is given all that it needs.
pub(super) fn tell_manager() -> Result<checkin::Answer, Failure> {
    forbid_dumps()?;
    let telling: Telling = serde_json::from_reader(std::io::stdin().lock())
        .map_err(|e| Failure::new(Code::BadRequest, format!("standard input is not understood: {e}")))?;
    block_on(checkin::tell(&telling))
}

/// With nothing but the profile: at a first boot there is nothing else yet.
pub(super) fn judge_password(root: &Path, steps: Arc<dyn Steps>, user: &str) -> Result<(), Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    forbid_dumps().map_err(one)?;
    let root = Folder::open(root, steps).map_err(|e| one(e.into()))?;
    let (profile, _) = profile::load(&root)?;
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut text);
    read.map_err(|e| one(Failure::io("cannot read the password", &e)))?;
    passwords::check(&profile.passwords, user, &Secret::new(text)).map_err(one)
}

/// Checks a folder that holds `profile.d` and `domains.d`, offline.
pub(super) fn lint(folder: &Path, steps: Arc<dyn Steps>) -> ExitCode {
    let checked = Folder::open(folder, steps)
        .map_err(|e| vec![e.into()])
        .and_then(|folder| profile::load_from(&folder));
    match checked {
        Ok((profile, domains)) => {
            println!("{}: {} domains, no problem found", profile.product, domains.iter().count());
            for domain in domains.iter() {
                let paths: Vec<_> = domain.paths.iter().map(ToString::to_string).collect();
                println!("  {:<12} {:<8} {}", domain.name, domain.restore.as_str(), paths.join(" "));
            }
            ExitCode::SUCCESS
        }
        Err(failures) => {
            for failure in &failures {
                eprintln!("{failure} [{}]", failure.code);
            }
            ExitCode::FAILURE
        }
    }
}
