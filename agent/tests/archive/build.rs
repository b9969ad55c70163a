//! Archives from blocks, so that each can be wrong in exactly one way: sums and manifest are
//! made to agree with whatever members are given.

use std::collections::BTreeMap;

use reinstate_agent::tree::Digest;

use super::sample::manifest;

pub type Block = [u8; 512];

/// One member as it will stand in the archive.
#[derive(Clone)]
pub struct Member {
    pub name: Vec<u8>,
    pub flag: u8,
    pub mode: u32,
    pub owner: String,
    pub group: String,
    pub link: Vec<u8>,
    pub content: Vec<u8>,
    /// Blocks that stand before it.
    pub before: Vec<u8>,
    /// The last change to its header before the checksum is made.
    pub change: fn(&mut Block),
    /// Named in the list of digests, counted in the manifest, and described in that list.
    pub listed: bool,
}

pub fn member(name: impl AsRef<[u8]>, flag: u8, content: &[u8]) -> Member {
    Member {
        name: name.as_ref().to_vec(),
        flag,
        mode: if flag == b'2' { 0o777 } else { 0o644 },
        owner: "root".into(),
        group: "root".into(),
        link: Vec::new(),
        content: content.to_vec(),
        before: Vec::new(),
        change: |_| {},
        listed: true,
    }
}

pub fn file(name: impl AsRef<[u8]>) -> Member {
    member(name, b'0', b"content\n")
}

pub fn folder(name: impl AsRef<[u8]>) -> Member {
    member(name, b'5', b"")
}

pub fn link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    Member { link: target.as_ref().to_vec(), ..member(name, b'2', b"") }
}

impl Member {
    pub fn change(self, change: fn(&mut Block)) -> Self {
        Self { change, ..self }
    }

    pub fn unlisted(self) -> Self {
        Self { listed: false, ..self }
    }

    pub fn after(self, before: Vec<u8>) -> Self {
        Self { before, ..self }
    }

    /// Header, content and padding.
    pub fn bytes(&self) -> Vec<u8> {
        let mut block = [0; 512];
        put(&mut block, 0, &self.name[..self.name.len().min(100)]);
        put(&mut block, 100, format!("{:07o}", self.mode).as_bytes());
        put(&mut block, 108, b"0000000\x000000000\0");
        put(&mut block, 124, format!("{:011o}", self.content.len()).as_bytes());
        put(&mut block, 136, b"14761533117");
        block[156] = self.flag;
        put(&mut block, 157, &self.link[..self.link.len().min(100)]);
        put(&mut block, 257, b"ustar\x0000");
        put(&mut block, 265, self.owner.as_bytes());
        put(&mut block, 297, self.group.as_bytes());
        (self.change)(&mut block);
        seal(&mut block);
        let mut bytes = self.before.clone();
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    /// Domain and path of what belongs to a domain.
    fn place(&self) -> Option<(String, String)> {
        let name = String::from_utf8(self.name.clone()).ok()?;
        let (domain, path) = name.strip_prefix("config/")?.split_once('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        (self.listed && !path.is_empty()).then(|| (domain.to_owned(), path.to_owned()))
    }
}

pub fn put(block: &mut Block, at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Makes the checksum right.
pub fn seal(block: &mut Block) {
    put(block, 148, b"        ");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    put(block, 148, format!("{sum:06o}\0 ").as_bytes());
}

pub fn pax(body: impl AsRef<[u8]>) -> Vec<u8> {
    member("PaxHeaders/x", b'x', body.as_ref()).bytes()
}

pub fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| *length == rest + length.to_string().len()).unwrap();
    format!("{length} {key}={value}\n")
}

pub fn gnu_long(flag: u8, name: impl AsRef<[u8]>) -> Vec<u8> {
    let body = [name.as_ref(), b"\0"].concat();
    member("././@LongLink", flag, &body).bytes()
}

/// The parts of an archive, before they are put one behind the other.
pub struct Parts {
    pub manifest: Member,
    pub sums: Member,
    pub members: Vec<Member>,
    pub end: Vec<u8>,
}

impl Parts {
    pub fn of(members: Vec<Member>) -> Self {
        Self::with(members, |_| {}, |_| {})
    }

    /// With a change to the manifest's and to the sums' text before they are sealed.
    pub fn with(members: Vec<Member>, toml: impl Fn(&mut String), list: impl Fn(&mut String)) -> Self {
        let mut lines = String::new();
        let mut sums = String::new();
        let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for member in &members {
            let Some((domain, path)) = member.place() else {
                continue;
            };
            let size = member.content.len();
            let (kind, detail) = match member.flag {
                b'5' => ("folder", String::new()),
                b'2' => ("link", String::from_utf8_lossy(&member.link).into_owned()),
                _ => ("file", size.to_string()),
            };
            let count = counts.entry(domain.clone()).or_default();
            if kind == "file" {
                sums += &format!("{}  config/{domain}/{path}\n", Digest::of(&member.content));
                *count = (count.0 + 1, count.1 + size as u64);
            }
            let (mode, owner, group) = (member.mode, &member.owner, &member.group);
            lines += &format!("# {kind}\t{mode:04o}\t{owner}\t{group}\t{detail}\tconfig/{domain}/{path}\n");
        }
        sums += &lines;
        list(&mut sums);
        let names: Vec<&str> = counts.keys().map(String::as_str).collect();
        let mut manifest = manifest(&names);
        manifest.sha256sums = Digest::of(sums.as_bytes());
        for record in &mut manifest.domains {
            (record.files, record.bytes) = counts[&record.name];
        }
        let mut text = toml::to_string(&manifest).unwrap();
        toml(&mut text);
        text += &format!("# sha256 {}\n", Digest::of(text.as_bytes()));
        Self {
            manifest: member("manifest.toml", b'0', text.as_bytes()),
            sums: member("SHA256SUMS", b'0', sums.as_bytes()),
            members,
            end: vec![0; 1024],
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let members = self.members.iter().map(Member::bytes).collect::<Vec<_>>().concat();
        [self.manifest.bytes(), self.sums.bytes(), members, self.end.clone()].concat()
    }
}

/// A whole archive of these members.
pub fn archive(members: Vec<Member>) -> Vec<u8> {
    Parts::of(members).bytes()
}
