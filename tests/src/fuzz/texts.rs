//! The two lists that an archive begins with.

use std::collections::BTreeMap;

use reinstate_agent::archive::{DomainRecord, Manifest, Sums, is_domain_name};
use reinstate_agent::tree::Digest;

use super::{LIMITS, REFUSALS, mend, refused};

/// A manifest that is taken says the same once it is written and read again. The input is looked at as it is,
/// and with the seal that it needs.
pub fn manifest(input: &[u8]) {
    let seal = format!("# sha256 {}\n", Digest::of(input));
    for bytes in [input, &[input, seal.as_bytes()].concat()] {
        match Manifest::parse(bytes) {
            Ok(manifest) => {
                let again = Manifest::parse(&manifest.to_bytes().unwrap()).unwrap();
                assert_eq!(again, manifest);
                assert_eq!(again.format, Manifest::FORMAT);
                assert!(again.domains.iter().all(|record| is_domain_name(&record.name)));
                again.details("a.tar");
            }
            Err(failure) => refused(&failure, &REFUSALS),
        }
    }
}

/// A list that is taken says the same once it is written and read again, and what is written is the one way to
/// write it.
pub fn sums(input: &[u8]) {
    let manifest = meant(input);
    let sums = match Sums::parse(input, &manifest, &LIMITS) {
        Ok(sums) => sums,
        Err(failure) => return refused(&failure, &REFUSALS),
    };
    assert!(sums.index().count() <= LIMITS.files);
    assert_eq!(sums.index().totals(), manifest.totals());
    let text = Sums::write(sums.index());
    let again = Sums::parse(&text, &manifest, &LIMITS).unwrap();
    assert_eq!(again, sums);
    assert_eq!(Sums::write(again.index()), text);
    assert_eq!(text.len(), input.len(), "only the order of lines is free");
    for (domain, path, digest) in sums.iter() {
        assert_eq!(sums.get(domain, path), Some(digest));
    }
}

/// A manifest with the counts that a list may have.
fn meant(input: &[u8]) -> Manifest {
    let text = String::from_utf8_lossy(input);
    let mut domains: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let name = fields.last().and_then(|name| name.strip_prefix("config/")?.split_once('/'));
        let Some((domain, _)) = name.filter(|(domain, _)| is_domain_name(domain)) else { continue };
        let (files, bytes) = domains.entry(domain).or_default();
        if let Some(size) = fields.get(4).filter(|_| fields[0] == "# file") {
            *files += 1;
            *bytes = u64::saturating_add(*bytes, size.parse().unwrap_or_default());
        }
    }
    let record = |(name, (files, bytes)): (&str, (u64, u64))| DomainRecord {
        name: name.to_owned(),
        version: 1,
        files,
        bytes,
        optional: false,
    };
    Manifest { domains: domains.into_iter().map(record).collect(), ..mend::empty() }
}
