//! Archives out of a bundle into the backup folder: all that were asked for, or none.

use std::io::{self, BufRead, BufReader, Write};

use reinstate_api::{Code, Created, Extracted, Failure};

use super::{Bundles, Inner, list, named, open};
use crate::archive::{self, Limits, Packed};
use crate::files::{Folder, found};
use crate::tree::Hashing;
use crate::{backups, download};

/// Takes the archive of one node, or all of them, out of a bundle. `node` is a host name, in the
/// archive's name or in its manifest, or the name of the archive. An archive that is here already is
/// left alone. Nothing is visible before the whole bundle has been read and what was taken out of it is
/// on the disk; on an error nothing stays.
///
/// # Errors
/// As [`Bundles::look`]; `not-found` and `bad-request` where `node` means no archive or several,
/// `archive-invalid` and others of [`archive::read_manifest`] for what is no readable archive,
/// `backup-exists` where another one of that name is here, `digest-mismatch` where the bundle changed
/// meanwhile, `no-space`.
pub fn extract(
    bundles: &Bundles,
    folder: &Folder,
    bundle: &str,
    node: Option<&str>,
    limits: &Limits,
) -> Result<Extracted, Failure> {
    let contents = bundles.look(folder, bundle, limits)?;
    let wanted = chosen(&contents, bundle, node)?;
    let (mut missing, mut there) = (Vec::new(), Vec::new());
    for inner in wanted {
        if let Err(failure) = &inner.about {
            return Err(unreadable(bundle, inner, failure));
        }
        match is_there(folder, &inner.packed)? {
            true => there.push(created(&inner.packed)),
            false => missing.push(&inner.packed),
        }
    }
    let files = missing.iter().map(|packed| created(packed)).collect();
    if !missing.is_empty() {
        let bytes = missing.iter().fold(0, |bytes, packed| u64::saturating_add(bytes, packed.bytes));
        backups::room(folder, bytes)?;
        let mut visible = 0;
        if let Err(failure) = unpack(folder, bundle, &missing, limits, &mut visible) {
            take_back(folder, &missing, visible);
            return Err(failure);
        }
    }
    Ok(Extracted { files, there })
}

fn created(packed: &Packed) -> Created {
    Created { file: packed.file.clone(), bytes: packed.bytes }
}

fn unreadable(bundle: &str, inner: &Inner, failure: &Failure) -> Failure {
    let message = format!("{} in the bundle {bundle}: {}", inner.packed.file, failure.message);
    Failure::new(failure.code, message)
        .hint("take the others out by name: `show backups` lists them; this one is to be made again")
}

fn chosen<'c>(contents: &'c [Inner], bundle: &str, node: Option<&str>) -> Result<Vec<&'c Inner>, Failure> {
    let Some(node) = node else { return Ok(contents.iter().collect()) };
    if let Some(inner) = contents.iter().find(|inner| inner.packed.file == node) {
        return Ok(vec![inner]);
    }
    let is_of_node = |inner: &&Inner| {
        archive::host_in_name(&inner.packed.file) == Some(node)
            || inner.about.as_ref().is_ok_and(|about| about.hostname == node)
    };
    let of_node: Vec<_> = contents.iter().filter(is_of_node).collect();
    let names =
        |inners: &[&Inner]| list(&inners.iter().map(|inner| inner.packed.file.as_str()).collect::<Vec<_>>());
    match of_node.len() {
        1 => Ok(of_node),
        0 => Err(Failure::new(
            Code::NotFound,
            format!(
                "the bundle {bundle} has no archive of '{node}'; it has {}",
                names(&contents.iter().collect::<Vec<_>>())
            ),
        )
        .hint("name a node, or one of these archives")),
        count => Err(Failure::new(
            Code::BadRequest,
            format!("the bundle {bundle} has {count} archives of '{node}': {}", names(&of_node)),
        )
        .hint("name the archive that is meant")),
    }
}

/// Whether this very archive is in the backup folder.
fn is_there(folder: &Folder, packed: &Packed) -> Result<bool, Failure> {
    let Packed { file, bytes, sha256 } = packed;
    if let Some(clash) = backups::clash(folder, file, *bytes, "the bundle's")? {
        return Err(clash);
    }
    let Some(there) = found(folder.open_file(file))? else { return Ok(false) };
    let mut hashing = Hashing::new(there);
    io::copy(&mut hashing, &mut io::sink()).map_err(|e| Failure::io("cannot compare the backups", &e))?;
    match hashing.finish().1 == *sha256 {
        true => Ok(true),
        false => Err(backups::exists(file, "with another content than the bundle's")),
    }
}

/// `visible` counts those that have their names.
fn unpack(
    folder: &Folder,
    bundle: &str,
    missing: &[&Packed],
    limits: &Limits,
    visible: &mut usize,
) -> Result<(), Failure> {
    missing.iter().try_for_each(|packed| download::forget(folder, &packed.file))?;
    let input = BufReader::with_capacity(archive::BUFFER, open(folder, bundle)?);
    let read = archive::read_bundle(input, limits, &mut |name, bytes, content| {
        let wanted = missing.iter().find(|packed| packed.file == name);
        match wanted {
            // There was room for what was seen.
            Some(packed) if packed.bytes == bytes => write(folder, &part_name(name), content),
            Some(_) => Err(changed(bundle)),
            None => Ok(()),
        }
    });
    let read = read.map_err(|failure| match failure.code {
        Code::ArchiveInvalid | Code::ArchiveTooLarge => named(bundle, &failure),
        _ => failure,
    })?;
    if !missing.iter().all(|packed| read.contains(packed)) {
        return Err(changed(bundle));
    }
    for packed in missing {
        let renamed = folder.rename_new(part_name(&packed.file), &packed.file);
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => backups::exists(&packed.file, "since a moment ago"),
            _ => error.into(),
        })?;
        *visible += 1;
    }
    Ok(folder.sync("")?)
}

fn part_name(file: &str) -> String {
    format!("{file}.part")
}

fn write(folder: &Folder, part: &str, content: &mut dyn BufRead) -> Result<(), Failure> {
    let cannot = |e: io::Error| Failure::io("cannot take the archive out of the bundle", &e);
    let mut writer = backups::create(folder, part)?;
    loop {
        let here = content.fill_buf().map_err(cannot)?;
        if here.is_empty() {
            return Ok(writer.sync()?);
        }
        writer.write_all(here).map_err(cannot)?;
        let count = here.len();
        content.consume(count);
    }
}

/// The first `visible` of them have their names.
fn take_back(folder: &Folder, missing: &[&Packed], visible: usize) {
    for (at, packed) in missing.iter().enumerate() {
        let name = if at < visible { packed.file.clone() } else { part_name(&packed.file) };
        if let Err(failure) = folder.remove_if_there(&name) {
            tracing::warn!("{name} stays behind: {failure}");
        }
    }
}

fn changed(bundle: &str) -> Failure {
    Failure::new(Code::DigestMismatch, format!("the bundle {bundle} is not what it was a moment ago"))
        .hint("try again when nobody writes to it")
}
