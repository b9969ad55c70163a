//! The way of a download from the network to the disk and on to its reader: small pieces are gathered
//! into large blocks, written past the page cache where that is possible, then read where they lie.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{self as thread, Receiver};
use std::time::Duration;

use bytes::{Buf, Bytes};
use reinstate_api::Failure;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::files::Writer;

/// What the page cache is left out for: large writes, at addresses and offsets that disks like.
const BLOCK: usize = 512 << 10;
const ALIGNMENT: usize = 4096;
/// One is filled, one written, one read; the others take up what a disk is slow at now and then.
const BLOCKS: usize = 8;
/// Pieces that wait to be gathered, of at most 64 KiB each.
const PIECES: usize = 16;
/// The first piece in a block waits no longer for the others.
const PATIENCE: Duration = Duration::from_millis(20);

/// Where pieces are sent to, and what they are read from, once written. `at` is where in the file the
/// first one belongs. Needs a runtime; the reader blocks.
pub fn through(writer: Writer, at: u64) -> io::Result<(mpsc::Sender<Bytes>, Incoming)> {
    let (sender, arriving) = mpsc::channel(PIECES);
    let (to_writer, full) = thread::channel();
    let (to_reader, written) = thread::channel();
    let (spare, empty) = mpsc::unbounded_channel();
    for _ in 0..BLOCKS {
        let _ = spare.send(Block::new());
    }
    let mut disk = Disk { writer, direct: false, able: true };
    std::thread::Builder::new().name("download".into()).spawn(move || {
        for block in full {
            let written = disk.write(&block).map(|()| block);
            if to_reader.send(written).is_err() {
                return;
            }
        }
    })?;
    tokio::spawn(gather(arriving, empty, to_writer, at));
    Ok((sender, Incoming { written, spare, block: None }))
}

/// Ends when either side does.
async fn gather(
    mut arriving: mpsc::Receiver<Bytes>,
    mut empty: mpsc::UnboundedReceiver<Block>,
    full: thread::Sender<Block>,
    mut at: u64,
) {
    let mut piece = Bytes::new();
    while let Some(mut block) = empty.recv().await {
        block.begin(at);
        if piece.is_empty() {
            match arriving.recv().await {
                Some(first) => piece = first,
                None => return,
            }
        }
        let patience = Instant::now() + PATIENCE;
        while block.take(&mut piece) {
            match timeout_at(patience, arriving.recv()).await {
                Ok(Some(next)) => piece = next,
                Ok(None) | Err(_) => break,
            }
        }
        at += block.bytes().len() as u64;
        if full.send(block).is_err() {
            return;
        }
    }
}

/// Some bytes of a file, in memory that is aligned as they are in the file.
struct Block {
    memory: Vec<u8>,
    /// Where in `memory` they are.
    start: usize,
    end: usize,
    /// Where in the file.
    at: u64,
}

impl Block {
    fn new() -> Self {
        Self { memory: vec![0; BLOCK + ALIGNMENT], start: 0, end: 0, at: 0 }
    }

    /// Empties it, for what comes at `at`.
    fn begin(&mut self, at: u64) {
        self.start = self.aligned() + (at % BLOCK as u64) as usize;
        self.end = self.start;
        self.at = at;
    }

    fn aligned(&self) -> usize {
        self.memory.as_ptr().align_offset(ALIGNMENT)
    }

    /// Takes from `piece` what fits; whether there is room for more. Full, it ends where the file's next
    /// block begins.
    fn take(&mut self, piece: &mut Bytes) -> bool {
        let room = self.aligned() + BLOCK - self.end;
        let length = piece.len().min(room);
        piece.copy_to_slice(&mut self.memory[self.end..self.end + length]);
        self.end += length;
        length < room
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    fn is_whole(&self) -> bool {
        self.bytes().len() == BLOCK
    }
}

struct Disk {
    writer: Writer,
    /// The page cache is left out now.
    direct: bool,
    /// It can be, as far as is known.
    able: bool,
}

impl Disk {
    fn write(&mut self, block: &Block) -> io::Result<()> {
        self.set_direct(self.able && block.is_whole());
        let mut done = self.writer.write_at(block.bytes(), block.at);
        if self.direct && done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput) {
            self.able = false;
            self.set_direct(false);
            done = self.writer.write_at(block.bytes(), block.at);
        }
        done.map_err(|error| io::Error::other(Failure::io("cannot write to /var/sf/backup", &error)))
    }

    fn set_direct(&mut self, direct: bool) {
        if direct != self.direct {
            self.able = self.writer.set_direct(direct).is_ok();
            self.direct = direct && self.able;
        }
    }
}

/// What has arrived and is written.
pub struct Incoming {
    written: Receiver<io::Result<Block>>,
    spare: mpsc::UnboundedSender<Block>,
    block: Option<Block>,
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.block.is_none() {
            self.block = self.written.recv().ok().transpose()?;
        }
        Ok(self.block.as_ref().map(Block::bytes).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        let Some(block) = &mut self.block else { return };
        block.start += count;
        if block.bytes().is_empty() {
            // Nobody takes it where nothing more is to come.
            let _ = self.block.take().map(|block| self.spare.send(block));
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::path::Path;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{ALIGNMENT, BLOCK, through};
    use crate::files::{Direct, Folder};

    /// What was sent arrives at the reader and in the file, wherever it begins.
    fn goes_through(folder: &Path, from: usize, length: usize, piece: usize) {
        let content: Vec<u8> = (0..from + length).map(|at| (at % 251) as u8).collect();
        let name = format!("{from}-{length}-{piece}");
        let folder = Folder::open(folder, Arc::new(Direct)).unwrap();
        let mut writer = folder.create(&name, 0o600).unwrap();
        writer.write_all(&content[..from]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let read = runtime.block_on(async {
            let (sender, mut incoming) = through(writer, from as u64).unwrap();
            let reading = tokio::task::spawn_blocking(move || {
                let mut read = Vec::new();
                incoming.read_to_end(&mut read).map(|_| read)
            });
            for piece in content[from..].chunks(piece) {
                sender.send(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            drop(sender);
            reading.await.unwrap().unwrap()
        });
        assert!(read == content[from..], "{name}: the reader");
        assert!(folder.read(&name, 1 << 30).unwrap() == content, "{name}: the file");
    }

    #[test]
    fn what_arrives_is_in_the_file_and_at_the_reader_wherever_it_begins_and_in_whatever_pieces() {
        // A disk's file system, and one in memory.
        for place in ["/var/tmp", "/dev/shm"] {
            let folder = tempfile::tempdir_in(place).unwrap();
            for from in [0, 1, ALIGNMENT, BLOCK - 1, BLOCK] {
                for length in [0, 1, ALIGNMENT, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77] {
                    goes_through(folder.path(), from, length, 60_001);
                }
            }
            goes_through(folder.path(), 5, 10 * BLOCK, BLOCK + 1);
        }
    }
}
