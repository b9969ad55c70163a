//! The vendor's files.

use reinstate_agent::domain::{Domains, Policy};
use reinstate_agent::profile::Profile;
use reinstate_agent::tree::TreePath;
use reinstate_api::Code;

use super::{files, refused};

/// What the first process and udev read before activation, and what the agent keeps for itself.
const NOBODYS: [&str; 6] = [
    "etc/systemd/system/x.service",
    "etc/udev/rules.d/x",
    "etc/fstab",
    "etc/machine-id",
    "etc/reinstate/profile.d/x.toml",
    "var/lib/reinstate/state.toml",
];

/// Domains that are taken own nothing together and nothing that is reserved, in whatever order they come.
pub fn domains(input: &[u8]) {
    let Some(mut files) = files(input) else { return };
    let taken = Domains::from_drop_ins(&files);
    files.reverse();
    assert_eq!(Domains::from_drop_ins(&files).is_ok(), taken.is_ok());
    let domains = match taken {
        Ok(domains) => domains,
        Err(failures) => {
            assert!(!failures.is_empty());
            return failures.iter().for_each(|failure| refused(failure, &[Code::ProfileInvalid]));
        }
    };
    assert!(domains.iter().next().is_some());
    for domain in domains.iter() {
        assert!(domains.get(&domain.name).is_some_and(|found| std::ptr::eq(found, domain)));
        for path in NOBODYS {
            assert!(!domain.owns(&path.parse().unwrap()), "{} owns {path}", domain.name);
        }
        for owned in &domain.paths {
            let within: Result<TreePath, _> = format!("{}/x", owned.path.as_str()).parse();
            for path in [Ok(owned.path.clone()), within].into_iter().flatten() {
                let owners = domains.iter().filter(|domain| domain.owns(&path)).count();
                assert!(owners <= 1, "{path} has {owners} owners");
                domain.is_secret(&path);
                domain.allows_link(&path, "../../usr/share/zoneinfo/UTC");
                let _ = domain.inspect(&path, b"root:x:0:0::/root:/bin/sh\n\xff\n");
            }
        }
    }
    assert!(domains.stored().all(|domain| domain.restore != Policy::Keep));
}

/// A profile that is taken is within its bounds, and the same where each file comes twice.
pub fn profile(input: &[u8]) {
    let Some(mut files) = files(input) else { return };
    match Profile::from_fragments(&files) {
        Ok(profile) => {
            assert!(profile.hardware.interfaces.contains(&profile.management.interface));
            assert!((1..=3600).contains(&profile.health.deadline));
            assert!((1..=3600).contains(&profile.validators.time_limit));
            assert!((1..=86_400).contains(&profile.questions.answer_within));
            files.extend(files.clone());
            let again = Profile::from_fragments(&files).unwrap();
            assert_eq!(format!("{again:?}"), format!("{profile:?}"));
        }
        Err(failures) => {
            assert!(!failures.is_empty());
            failures.iter().for_each(|failure| refused(failure, &[Code::ProfileInvalid]));
        }
    }
}
