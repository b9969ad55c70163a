//! A file as a lenient reader of archives sees it: whatever looks like a header is one, and what does
//! not is passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use reinstate_agent::tree::{Digest, Hashing};

use super::build::{Block, put, seal};
use crate::{Result, doing};

/// More is not unpacked or moved.
const MOST: u64 = 64 << 20;
/// More members are not listed.
const MEMBERS: usize = 1_000;
/// Of a long name, an extended header or a list.
const WHOLE: u64 = 16 << 20;
const SIZE: u64 = 512;

/// A member that a list can name.
#[derive(Clone)]
pub struct Listed {
    pub name: String,
    mode: u64,
    owner: String,
    group: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    File(u64, Digest),
    Folder,
    Link(String),
}

impl Listed {
    pub fn digest_line(&self) -> Option<String> {
        let Kind::File(_, digest) = &self.kind else { return None };
        Some(format!("{digest}  {}\n", self.name))
    }

    pub fn member_line(&self) -> String {
        let Self { name, mode, owner, group, kind } = self;
        let (kind, detail) = match kind {
            Kind::File(size, _) => ("file", size.to_string()),
            Kind::Folder => ("folder", String::new()),
            Kind::Link(target) => ("link", target.clone()),
        };
        format!("# {kind}\t{mode:04o}\t{owner}\t{group}\t{detail}\t{name}\n")
    }

    /// None of what is no file.
    pub fn size(&self) -> Option<u64> {
        let Kind::File(size, _) = self.kind else { return None };
        Some(size)
    }
}

pub struct Foreign {
    file: File,
    length: u64,
    listed: Vec<Listed>,
    /// Names, and what links and hard links point to.
    names: Vec<String>,
    /// Headers, with whether their names are their own.
    headers: Vec<(u64, bool)>,
    sums: String,
}

impl Foreign {
    /// Unpacked, where it is gzip: as much as comes out of it, damaged or not.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = doing("open", path, File::open(path))?;
        let mut magic = Vec::new();
        file.by_ref().take(2).read_to_end(&mut magic)?;
        file.rewind()?;
        if magic == [0x1f, 0x8b] {
            let mut unpacked = tempfile::tempfile()?;
            // What is damaged ends it.
            let _ = io::copy(&mut MultiGzDecoder::new(file).take(MOST), &mut unpacked);
            file = unpacked;
        }
        Self::of(file)
    }

    fn of(file: File) -> Result<Self> {
        let length = file.metadata()?.len();
        let (names, headers, sums) = Default::default();
        let mut foreign = Self { file, length, listed: Vec::new(), names, headers, sums };
        foreign.look()?;
        // As tar unpacks: of two with one name the last stays.
        let last: BTreeMap<String, Listed> =
            foreign.listed.drain(..).map(|listed| (listed.name.clone(), listed)).collect();
        foreign.listed = last.into_values().collect();
        Ok(foreign)
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The list of digests, should it be a backup itself.
    pub fn sums(&self) -> &str {
        &self.sums
    }

    /// All of it, and how long it is.
    pub fn blocks(&self) -> Result<(File, u64)> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok((file, self.length))
    }

    /// The same with the name of each member below a folder, where its header has room for it and
    /// nothing else says its name.
    pub fn moved(&self, folder: &str) -> Result<Self> {
        let mut file = tempfile::tempfile()?;
        let (from, length) = self.blocks()?;
        io::copy(&mut from.take(length.min(MOST)), &mut file)?;
        for &(at, own) in self.headers.iter().filter(|(at, _)| at + SIZE <= length.min(MOST)) {
            let mut block: Block = [0; SIZE as usize];
            file.read_exact_at(&mut block, at)?;
            if own && rename(&mut block, folder) {
                file.write_all_at(&block, at)?;
            }
        }
        Self::of(file)
    }

    fn look(&mut self) -> Result<()> {
        let mut at = 0_u64;
        let (mut name, mut link) = (None, None);
        while at.saturating_add(SIZE) <= self.length && self.headers.len() < MEMBERS {
            let mut block: Block = [0; SIZE as usize];
            self.file.read_exact_at(&mut block, at)?;
            let content = at + SIZE;
            if block.iter().all(|&byte| byte == 0) {
                at = content;
                continue;
            }
            let size = number(&block[124..136]);
            at = content.saturating_add(size.checked_next_multiple_of(SIZE).unwrap_or(u64::MAX));
            let flag = block[156];
            match flag {
                b'L' => name = Some(self.text(content, size)?),
                b'K' => link = Some(self.text(content, size)?),
                b'x' | b'g' => {
                    let text = self.text(content, size)?;
                    let value = |key: &str| {
                        text.lines()
                            .find_map(|line| line.split_once(' ')?.1.strip_prefix(key))
                            .map(str::to_owned)
                    };
                    (name, link) = (value("path=").or(name), value("linkpath=").or(link));
                }
                _ => {
                    self.headers.push((content - SIZE, name.is_none()));
                    let name = name.take().unwrap_or_else(|| own_name(&block));
                    let link = link.take().unwrap_or_else(|| field(&block[157..257]));
                    self.member(&block, content, size, name, link)?;
                }
            }
        }
        Ok(())
    }

    fn member(&mut self, block: &Block, content: u64, size: u64, name: String, link: String) -> Result<()> {
        let kind = match block[156] {
            b'5' => Some(Kind::Folder),
            b'2' => Some(Kind::Link(link.clone())),
            b'0' | 0 | b'7' if content.saturating_add(size) <= self.length => {
                let (mut file, _) = self.blocks()?;
                file.seek(io::SeekFrom::Start(content))?;
                let mut hashing = Hashing::new(file.take(size));
                io::copy(&mut hashing, &mut io::sink())?;
                Some(Kind::File(size, hashing.finish().1))
            }
            _ => None,
        };
        if name == "SHA256SUMS" && self.headers.len() == 2 {
            self.sums = self.text(content, size)?;
        }
        let short = name.strip_suffix('/').unwrap_or(&name).to_owned();
        self.names.extend([name, link]);
        if let Some(kind) = kind {
            let (owner, group) = (field(&block[265..297]), field(&block[297..329]));
            self.listed.push(Listed { name: short, mode: number(&block[100..108]), owner, group, kind });
        }
        Ok(())
    }

    /// Up to a NUL at its end.
    fn text(&self, at: u64, size: u64) -> Result<String> {
        let (mut file, _) = self.blocks()?;
        file.seek(io::SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        file.take(size.min(WHOLE)).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(&bytes)).into_owned())
    }
}

/// Prefix and name, joined.
fn own_name(block: &Block) -> String {
    let (name, prefix) = (field(&block[..100]), field(&block[345..500]));
    match &block[257..263] == b"ustar\0" && !prefix.is_empty() {
        true => format!("{prefix}/{name}"),
        false => name,
    }
}

fn field(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Octal among anything else, or base 256; 0 of what is neither.
fn number(bytes: &[u8]) -> u64 {
    if bytes[0] & 0x80 != 0 {
        let number =
            bytes[1..].iter().fold(0, |all: u64, &byte| all.saturating_mul(256).saturating_add(byte.into()));
        return if bytes[0] == 0xff { 0 } else { number };
    }
    let text = field(bytes);
    u64::from_str_radix(text.trim(), 8).unwrap_or_default()
}

/// Whether there was room. A checksum that was wrong stays wrong.
fn rename(block: &mut Block, folder: &str) -> bool {
    let mut right = *block;
    seal(&mut right);
    let sealed = number(&right[148..156]) == number(&block[148..156]);
    if block[257..265] == *b"ustar\x0000" && block[345..500].iter().all(|&byte| byte == 0) {
        put(block, 345, folder.as_bytes());
    } else {
        let end = block[..100].iter().position(|&byte| byte == 0).unwrap_or(100);
        let name = [folder.as_bytes(), b"/", &block[..end]].concat();
        if name.len() > 100 {
            return false;
        }
        put(block, 0, &name);
    }
    if sealed {
        seal(block);
    }
    true
}
