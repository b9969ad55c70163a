//! A valid backup of the appliance, and a foreign archive's blocks between its members.

use std::fs::File;
use std::io::{Cursor, Read};
use std::time::Duration;

use reinstate_agent::archive::{DomainRecord, Manifest};
use reinstate_agent::facts::Facts;

use super::build::{Member, Parts, file, folder, link, member};
use super::foreign::{Foreign, Listed};
use super::place::{Outcome, Place};
use crate::Result;

/// Where the appliance takes files of any name, as a member's name.
pub const FOLDER: &str = "config/files/var/lib/appliance/file-lists";

pub struct Base<'a> {
    facts: &'a Facts,
    members: Vec<Member>,
}

impl<'a> Base<'a> {
    pub fn new(facts: &'a Facts) -> Self {
        let private = "config/pki/etc/appliance/pki/private";
        let members = vec![
            folder(FOLDER),
            file(format!("{FOLDER}/blocked.list")),
            folder(private),
            member(format!("{private}/device.key"), b'0', b"not a key\n"),
            member("config/system/etc/hosts", b'0', &[b'#'; 1500]),
            link("config/system/etc/localtime", "../usr/share/zoneinfo/UTC"),
        ];
        Self { facts, members }
    }

    /// The backup, with these listed and counted as well.
    pub fn parts(&self, listed: &[Listed]) -> Parts {
        let manifest = |text: &mut String| {
            let mut manifest: Manifest = toml::from_str(text).unwrap();
            manifest.hardware = self.facts.hardware.clone();
            manifest.device = self.facts.device.clone();
            manifest.software = self.facts.software.clone();
            (manifest.manager, manifest.ha) = (None, None);
            listed.iter().for_each(|listed| count(&mut manifest, listed));
            *text = toml::to_string(&manifest).unwrap();
        };
        let sums = |text: &mut String| {
            let digests: String = listed.iter().filter_map(Listed::digest_line).collect();
            let members: String = listed.iter().map(Listed::member_line).collect();
            *text = digests + text + &members;
        };
        Parts::with(self.members.clone(), manifest, sums)
    }
}

fn count(manifest: &mut Manifest, listed: &Listed) {
    let Some(bytes) = listed.size() else { return };
    let Some(domain) = listed.name.strip_prefix("config/").and_then(|rest| rest.split('/').next()) else {
        return;
    };
    let at = manifest.domains.iter().position(|record| record.name == domain).unwrap_or_else(|| {
        let name = domain.to_owned();
        manifest.domains.push(DomainRecord { name, version: 1, files: 0, bytes: 0, optional: false });
        manifest.domains.len() - 1
    });
    let record = &mut manifest.domains[at];
    (record.files, record.bytes) = (record.files + 1, record.bytes.saturating_add(bytes));
}

type Staged = Vec<(Outcome, Duration)>;

/// Before, between and behind all of a backup's parts.
pub fn everywhere(place: &Place, parts: &Parts, foreign: &Foreign) -> Result<Staged> {
    at(place, parts, foreign, 0..=parts.members.len() + 3)
}

/// Behind the list, before the end.
pub fn between(place: &Place, parts: &Parts, foreign: &Foreign) -> Result<Staged> {
    at(place, parts, foreign, 2..=parts.members.len() + 2)
}

fn at(
    place: &Place,
    parts: &Parts,
    foreign: &Foreign,
    places: impl Iterator<Item = usize>,
) -> Result<Staged> {
    let members = parts.members.iter().map(Member::bytes);
    let first = [parts.manifest.bytes(), parts.sums.bytes()];
    let pieces: Vec<Vec<u8>> = first.into_iter().chain(members).chain([parts.end.clone()]).collect();
    let sums = String::from_utf8_lossy(&parts.sums.content);
    places.map(|at| Ok(place.stage(spliced(&pieces, at, foreign.blocks()?), &sums))).collect()
}

fn spliced(pieces: &[Vec<u8>], at: usize, (file, length): (File, u64)) -> impl Read {
    let padding = vec![0; (length.next_multiple_of(512) - length) as usize];
    let before = Cursor::new(pieces[..at].concat());
    before.chain(file.take(length)).chain(Cursor::new(padding)).chain(Cursor::new(pieces[at..].concat()))
}
