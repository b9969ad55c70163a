//! What a machine did to its disk: every write and flush, as QEMU's `blklogwrites` records them (the format of Linux'
//! dm-log-writes). From it come the disks that a power cut could have left: only a flush makes sure that what was written before it is
//! there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::Result;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;

const FLUSH: u64 = 1;
/// Durable by itself.
const FUA: u64 = 2;
const DISCARD: u64 = 4;

const SECTOR: u64 = 512;

/// What reaches a disk wholly or not at all: a file system counts on it, with its superblock for instance.
const BLOCK: u64 = 4096;

/// Every write and flush, in order. A position is a number of entries: those before it have happened.
pub struct Recording {
    file: File,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Write(Write),
    Flush,
}

/// So many bytes at a place of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    pub at: u64,
    pub length: u64,
    is_durable: bool,
    /// Where the recording has its content.
    content: u64,
}

/// What becomes of a write that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Dropped,
    /// Of each of its blocks it is drawn whether it is written.
    Torn {
        seed: u64,
    },
}

impl Recording {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let mut header = [0; 28];
        file.read_exact_at(&mut header, 0)?;
        let [magic, version, count] = numbers(&header);
        let sector = u64::from(u32::from_le_bytes(header[24..28].try_into()?));
        if (magic, version) != (MAGIC, VERSION) || sector < SECTOR {
            return Err(format!("{} is no recording of writes", path.display()).into());
        }
        let mut entries = Vec::new();
        let mut place = sector;
        for _ in 0..count {
            let mut header = [0; 24];
            file.read_exact_at(&mut header, place)?;
            let [at, sectors, flags] = numbers(&header);
            let length = if flags & DISCARD == 0 { sectors * sector } else { 0 };
            if flags & FLUSH != 0 {
                entries.push(Entry::Flush);
            }
            if length > 0 {
                let (at, content) = (at * sector, place + sector);
                entries.push(Entry::Write(Write { at, length, is_durable: flags & FUA != 0, content }));
            }
            place += sector + length;
        }
        Ok(Self { file, entries })
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn content(&self, write: &Write) -> io::Result<Vec<u8>> {
        let mut content = vec![0; write.length as usize];
        self.file.read_exact_at(&mut content, write.content)?;
        Ok(content)
    }

    /// The position after the last flush before this one: what was written until then is on the disk.
    pub fn flushed(&self, position: usize) -> usize {
        let last = self.entries[..position].iter().rposition(|entry| *entry == Entry::Flush);
        last.map_or(0, |flush| flush + 1)
    }

    /// The writes of a part that a power cut may lose, by their place in the recording, if no flush comes after them.
    pub fn losable(&self, part: Range<usize>) -> Vec<usize> {
        let is_losable = |at: &usize| matches!(self.entries[*at], Entry::Write(write) if !write.is_durable);
        part.filter(is_losable).collect()
    }

    /// Does the writes of a part again, but for those that have a fate.
    pub fn replay(&self, part: Range<usize>, fates: &BTreeMap<usize, Fate>, disk: &File) -> io::Result<()> {
        for at in part {
            let Entry::Write(write) = &self.entries[at] else { continue };
            match fates.get(&at) {
                Some(Fate::Dropped) => {}
                None => disk.write_all_at(&self.content(write)?, write.at)?,
                Some(Fate::Torn { seed }) => {
                    let mut random = Xoshiro256PlusPlus::seed_from_u64(*seed);
                    let content = self.content(write)?;
                    for (block, at) in
                        content.chunks(BLOCK as usize).zip((write.at..).step_by(BLOCK as usize))
                    {
                        if random.random_bool(0.5) {
                            disk.write_all_at(block, at)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Draws what becomes of some writes; at least one of them is lost. `share` of them are kept.
    pub fn draw(
        &self,
        writes: &[usize],
        share: f64,
        random: &mut Xoshiro256PlusPlus,
    ) -> BTreeMap<usize, Fate> {
        let is_long = |at| matches!(self.entries[at], Entry::Write(write) if write.length > BLOCK);
        let mut fates = BTreeMap::new();
        for at in writes {
            if random.random_bool(share) {
                continue;
            }
            let is_torn = is_long(*at) && random.random_bool(0.5);
            fates.insert(*at, if is_torn { Fate::Torn { seed: random.random() } } else { Fate::Dropped });
        }
        if fates.is_empty() && !writes.is_empty() {
            fates.insert(writes[random.random_range(0..writes.len())], Fate::Dropped);
        }
        fates
    }
}

fn numbers<const N: usize>(bytes: &[u8]) -> [u64; N] {
    std::array::from_fn(|number| {
        let mut value = [0; 8];
        value.copy_from_slice(&bytes[8 * number..][..8]);
        u64::from_le_bytes(value)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Sector, flags and sectors of content.
    type Line = (u64, u64, Vec<u8>);

    fn recording(lines: &[Line]) -> Recording {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let padded = |mut bytes: Vec<u8>| {
            bytes.resize(512, 0);
            bytes
        };
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
        let head = [words(&[MAGIC, VERSION, lines.len() as u64]), 512_u32.to_le_bytes().to_vec()].concat();
        let mut bytes = padded(head);
        for (sector, flags, content) in lines {
            bytes.extend(padded(words(&[*sector, content.len() as u64, *flags, 0])));
            content.iter().for_each(|byte| bytes.extend([*byte; 512]));
        }
        fs::write(&path, bytes).unwrap();
        Recording::open(&path).unwrap()
    }

    fn sample() -> Recording {
        recording(&[
            (0, 0, vec![1, 2]),
            (0, FLUSH, vec![]),
            (1, 0, vec![3]),
            (2, FUA, vec![4]),
            (3, 0, (5..69).collect()),
        ])
    }

    /// The first byte of each sector.
    fn disk(recording: &Recording, until: usize, fates: &BTreeMap<usize, Fate>) -> Vec<u8> {
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(68 * 512).unwrap();
        recording.replay(0..until, fates, &disk).unwrap();
        let first = |sector: u64| {
            let mut byte = [0];
            disk.read_exact_at(&mut byte, sector * 512).unwrap();
            byte[0]
        };
        (0..68).map(first).collect()
    }

    #[test]
    fn a_disk_is_what_was_written_until_a_moment() {
        let (recording, none) = (sample(), BTreeMap::new());
        assert_eq!(disk(&recording, 2, &none)[..5], [1, 2, 0, 0, 0]);
        assert_eq!(disk(&recording, 3, &none)[..5], [1, 3, 0, 0, 0]);
        assert_eq!(disk(&recording, 5, &none)[..5], [1, 3, 4, 5, 6]);
    }

    #[test]
    fn only_what_is_neither_flushed_nor_durable_by_itself_can_be_lost() {
        let recording = sample();
        assert_eq!((recording.flushed(1), recording.flushed(2), recording.flushed(5)), (0, 2, 2));
        assert_eq!(recording.losable(recording.flushed(5)..5), [2, 4]);
        assert_eq!(recording.losable(recording.flushed(2)..2), [0; 0]);
    }

    #[test]
    fn a_dropped_write_leaves_what_was_there_and_a_torn_one_a_part_of_itself() {
        let recording = sample();
        let fates = BTreeMap::from([(2, Fate::Dropped), (4, Fate::Torn { seed: 1 })]);
        let left = disk(&recording, 5, &fates);
        assert_eq!(left[..3], [1, 2, 4]);
        let torn: Vec<_> = left[3..67].iter().zip(5..).map(|(is, was)| (*is == 0, *is == was)).collect();
        assert!(torn.iter().all(|(lost, kept)| lost ^ kept), "{torn:?}");
        assert!(torn.chunks(8).all(|block| block.iter().all(|sector| *sector == block[0])), "{torn:?}");
        assert!(torn.iter().any(|(lost, _)| *lost) && torn.iter().any(|(_, kept)| *kept), "{torn:?}");
    }

    #[test]
    fn something_is_lost_of_every_draw_and_a_seed_draws_the_same_again() {
        let recording = sample();
        let draw =
            |share, seed| recording.draw(&[0, 2, 4], share, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
        assert_eq!(draw(1.0, 1).len(), 1);
        assert_eq!(draw(0.5, 7), draw(0.5, 7));
        assert!(
            (0..20).map(|seed| draw(0.0, seed)).all(|fates| fates.len() == 3 && fates[&2] == Fate::Dropped)
        );
        assert!((0..20).any(|seed| draw(0.0, seed)[&4] != Fate::Dropped));
    }

    #[test]
    fn another_file_is_not_taken_for_a_recording() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        fs::write(&path, [0; 4096]).unwrap();
        assert!(Recording::open(&path).is_err());
    }
}
