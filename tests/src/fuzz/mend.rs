//! Makes right what no chance makes right: checksums and digests.

use std::collections::BTreeMap;
use std::ops::Range;

use reinstate_agent::archive::{DomainRecord, Manifest};
use reinstate_agent::tree::Digest;

const BLOCK: usize = 512;
const SEAL: &[u8] = b"# sha256 ";

/// A member as its header says it, right or wrong.
struct Member {
    name: String,
    /// Of a link.
    target: String,
    flag: u8,
    header: Range<usize>,
    content: Range<usize>,
}

/// The members of a tar, as far as they can be found, with the checksums of their headers made right.
fn members(tar: &mut [u8]) -> Vec<Member> {
    let mut found = Vec::new();
    let (mut long, mut target) = (None, None);
    let mut at = 0;
    while at + BLOCK <= tar.len() {
        let (_, rest) = tar.split_at_mut(at);
        let (block, rest) = rest.split_at_mut(BLOCK);
        if block.iter().all(|&byte| byte == 0) {
            break;
        }
        let sum: u32 =
            block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum::<u32>() + 256;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = text(&block[124..136]).trim().to_owned();
        let Some(size) = usize::from_str_radix(&size, 8).ok().filter(|&size| size <= rest.len()) else {
            break;
        };
        let flag = block[156];
        let short = match text(&block[345..500]) {
            prefix if prefix.is_empty() => text(&block[..100]),
            prefix => format!("{prefix}/{}", text(&block[..100])),
        };
        match flag {
            b'x' => {
                let records = text(&rest[..size]);
                let said =
                    |key: &str| Some(records.lines().find_map(|line| line.split_once(key))?.1.to_owned());
                (long, target) = (said(" path="), said(" linkpath="));
            }
            b'L' => long = Some(text(&rest[..size])),
            b'K' => target = Some(text(&rest[..size])),
            _ => found.push(Member {
                name: long.take().unwrap_or(short),
                target: target.take().unwrap_or_else(|| text(&block[157..257])),
                flag,
                header: at..at + BLOCK,
                content: at + BLOCK..at + BLOCK + size,
            }),
        }
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    found
}

/// Up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Checksums, digests of files, the manifest's digest of these, and its seal, each where it stands.
pub fn digests(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    let members = members(&mut tar);
    let of =
        |name: &str| members.iter().find(|member| member.name == name).map(|member| member.content.clone());
    let (manifest, sums) = (of("manifest.toml"), of("SHA256SUMS"));
    if let Some(sums) = sums {
        let files: BTreeMap<&str, Digest> = members
            .iter()
            .map(|member| (&member.name[..], Digest::of(&tar[member.content.clone()])))
            .collect();
        let mut at = sums.start;
        for line in tar[sums.clone()].to_vec().split_inclusive(|&byte| byte == b'\n') {
            let name = line.get(66..).map(|name| String::from_utf8_lossy(name).trim_end().to_owned());
            if let Some(digest) = name.and_then(|name| files.get(&name[..])) {
                put(&mut tar, at, digest);
            }
            at += line.len();
        }
        let digest = Digest::of(&tar[sums]);
        if let Some(manifest) = manifest.clone()
            && let Some(at) = find(&tar[manifest.clone()], b"sha256sums = \"")
            && at + 64 < manifest.len()
        {
            put(&mut tar, manifest.start + at, &digest);
        }
    }
    if let Some(manifest) = manifest {
        let text = &tar[manifest.clone()];
        let last = text.windows(SEAL.len()).rposition(|window| window == SEAL);
        if let Some(last) = last.filter(|last| last + SEAL.len() + 64 <= text.len()) {
            let digest = Digest::of(&text[..last]);
            put(&mut tar, manifest.start + last + SEAL.len(), &digest);
        }
    }
    tar
}

fn put(bytes: &mut [u8], at: usize, digest: &Digest) {
    bytes[at..at + 64].copy_from_slice(digest.to_string().as_bytes());
}

/// Behind the first place where it stands.
fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    Some(bytes.windows(what.len()).position(|window| window == what)? + what.len())
}

/// An archive of the members below `config/`, listed as their headers say, right or wrong; none where there is none.
pub fn lists(tar: &[u8]) -> Option<Vec<u8>> {
    let mut tar = tar.to_vec();
    let members = members(&mut tar);
    let first = members.iter().position(|member| member.name.starts_with("config"))?;
    let (mut digests, mut lines) = (String::new(), String::new());
    let mut domains: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for member in &members[first..] {
        let header = &tar[member.header.clone()];
        let name = member.name.strip_suffix('/').unwrap_or(&member.name);
        let Some((domain, _)) = name.strip_prefix("config/").and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let (files, bytes) = domains.entry(domain.to_owned()).or_default();
        let (kind, detail) = match member.flag {
            b'5' => ("folder", String::new()),
            b'2' => ("link", member.target.clone()),
            _ => {
                digests += &format!("{}  {name}\n", Digest::of(&tar[member.content.clone()]));
                (*files, *bytes) = (*files + 1, *bytes + member.content.len() as u64);
                ("file", member.content.len().to_string())
            }
        };
        let mode = text(&header[100..108]);
        let mode = mode.trim().get(3..).unwrap_or_default();
        let (owner, group) = (text(&header[265..297]), text(&header[297..329]));
        lines += &format!("# {kind}\t{mode}\t{owner}\t{group}\t{detail}\t{name}\n");
    }
    let sums = digests + &lines;
    let domains = domains.into_iter().map(|(name, (files, bytes))| DomainRecord {
        name,
        version: 1,
        files,
        bytes,
        optional: false,
    });
    let manifest = Manifest {
        format: Manifest::FORMAT,
        sha256sums: Digest::of(sums.as_bytes()),
        domains: domains.collect(),
        ..empty()
    };
    let own = [("manifest.toml", manifest.to_bytes().ok()?), ("SHA256SUMS", sums.into_bytes())];
    let own = own.iter().flat_map(|(name, content)| member(name, content));
    // The extended headers before the first member are its own.
    let begin = first.checked_sub(1).map_or(0, |before| members[before].content.end.next_multiple_of(BLOCK));
    Some(own.chain(tar[begin.min(tar.len())..].iter().copied()).collect())
}

/// A manifest that says next to nothing.
pub fn empty() -> Manifest {
    Manifest {
        format: Manifest::FORMAT,
        created: jiff::Timestamp::UNIX_EPOCH,
        sha256sums: Digest([0; 32]),
        licence: String::new(),
        hardware: Default::default(),
        device: Default::default(),
        software: Default::default(),
        manager: None,
        ha: None,
        domains: Vec::new(),
    }
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = vec![0; BLOCK];
    let mut put = |at: usize, text: &[u8]| tar[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000600\x000000000\x000000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(156, b"0");
    put(257, b"ustar\x0000root\0");
    put(297, b"root\0");
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    members(&mut tar);
    tar
}
