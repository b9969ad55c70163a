//! The legacy SCP protocol, of which we take exactly one file: no folder, no second file, and neither
//! the name nor the mode that the server gives it.

use bytes::Bytes;
use reinstate_api::{Code, Failure};
use russh::client::Msg;
use russh::{Channel, ChannelWriteHalf};
use tokio::sync::mpsc::Sender;

use super::input::Input;
use super::link::{Link, quote};
use super::{Finished, Options, remote_file, too_large};

/// No record that a server has reason to send is longer.
const MAX_RECORD: usize = 1 << 10;

/// A file whose content comes next.
pub struct Scp {
    input: Input,
    output: ChannelWriteHalf<Msg>,
    size: u64,
}

impl Scp {
    /// Starts the server's `scp -f`, and reads how large the file is.
    pub async fn open(
        channel: Channel<Msg>,
        link: Link,
        path: &str,
        options: &Options,
    ) -> Result<Self, Failure> {
        let (mut input, output) = Input::new(channel, link, options.stall_timeout);
        // As OpenSSH's own client: other servers may not know `--`.
        let dashes = if path.starts_with('-') { "-- " } else { "" };
        let command = format!("scp -f {dashes}{}", quoted(path));
        let _ = output.exec(true, command).await;
        if !input.accepted().await? {
            return Err(input.link.wrong("offers neither SFTP nor the execution of scp"));
        }
        let mut times = false;
        loop {
            go_on(&output).await;
            let kind = match input.some(1).await? {
                Some(kind) => kind[0],
                None => return Err(neither(&input)),
            };
            let record = record(&mut input).await?;
            match kind {
                b'C' => {
                    let size = size_of(&record).ok_or_else(|| {
                        input
                            .link
                            .wrong(format_args!("sent the SCP record {}", quote(&format!("C{record}"), 100)))
                    })?;
                    if size > options.max_size {
                        return Err(too_large(path, size, options));
                    }
                    return Ok(Self { input, output, size });
                }
                b'T' if !times => times = true,
                b'\x01' | b'\x02' => return Err(refused(path, &record)),
                b'D' => {
                    return Err(remote_file(path, "is a folder to the server, which sent a D record")
                        .hint("name one file"));
                }
                other => {
                    let shown = quote(&format!("{}{record}", char::from(other)), 100);
                    return Err(input
                        .link
                        .wrong(format_args!("sent {shown} where SCP has a record for one file"))
                        .hint("the user's login shell must print nothing for a command"));
                }
            }
        }
    }

    /// Bytes, as the server has announced them.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Sends the file's bytes: never more than were announced, and `Whole` only where they were all of it.
    pub async fn read(mut self, path: &str, out: &Sender<Bytes>) -> Result<Finished, Failure> {
        go_on(&self.output).await;
        let mut left = self.size;
        while left > 0 {
            let max = usize::try_from(left).unwrap_or(usize::MAX);
            let piece = self.input.some(max).await?.ok_or_else(|| self.short(path, left))?;
            left -= piece.len() as u64;
            if out.send(piece).await.is_err() {
                return Ok(Finished::Stopped);
            }
        }
        match self.input.some(1).await?.ok_or_else(|| self.input.ended())?[0] {
            0 => {}
            b'\x01' | b'\x02' => return Err(refused(path, &record(&mut self.input).await?)),
            _ => return Err(self.more(path)),
        }
        go_on(&self.output).await;
        // The end of the bytes is no success yet: a second file may follow, or a bad exit status.
        let _ = self.output.eof().await;
        if let Some(more) = self.input.some(1).await? {
            return Err(match more[0] {
                b'\x01' | b'\x02' => refused(path, &record(&mut self.input).await?),
                _ => self.more(path),
            });
        }
        match self.input.exit() {
            Some(0) => Ok(Finished::Whole),
            _ => Err(self.input.ended()),
        }
    }

    fn short(&self, path: &str, left: u64) -> Failure {
        let (size, got) = (self.size, self.size - left);
        remote_file(
            path,
            format!("has {size} bytes according to the server, but it sent {got}; {}", self.input.ended()),
        )
    }

    fn more(&self, path: &str) -> Failure {
        let size = self.size;
        self.input
            .link
            .wrong(format_args!("sends more than the {size} bytes of the one file {path} that was asked for"))
    }
}

/// Tells the server to go on.
async fn go_on(output: &ChannelWriteHalf<Msg>) {
    let _ = output.data_bytes(Bytes::from_static(&[0])).await;
}

/// The rest of a record's line.
async fn record(input: &mut Input) -> Result<String, Failure> {
    let mut line = Vec::new();
    while line.len() < MAX_RECORD {
        match input.some(1).await? {
            Some(byte) if byte[0] == b'\n' => {
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            Some(byte) => line.push(byte[0]),
            // Some servers end an error without a newline.
            None => return Ok(String::from_utf8_lossy(&line).into_owned()),
        }
    }
    Err(input.link.wrong(format_args!("sent an SCP record of more than {MAX_RECORD} bytes")))
}

/// The size in `C`'s record: `0644 12345 name`.
fn size_of(record: &str) -> Option<u64> {
    let mut fields = record.splitn(3, ' ');
    let (mode, size, name) = (fields.next()?, fields.next()?, fields.next()?);
    let octal = !mode.is_empty() && mode.bytes().all(|c| (b'0'..=b'7').contains(&c));
    let decimal = !size.is_empty() && size.bytes().all(|c| c.is_ascii_digit());
    if octal && decimal && !name.is_empty() { size.parse().ok() } else { None }
}

fn refused(path: &str, words: &str) -> Failure {
    remote_file(path, format!("cannot be read: the server says {}", quote(words, 300)))
}

/// Nothing came out of `scp`.
fn neither(input: &Input) -> Failure {
    let (server, saying) = (&input.link.server, input.saying());
    match input.exit() {
        Some(status) => Failure::new(
            Code::RemoteProtocol,
            format!("{server} has no SFTP, and its scp ended with status {status}{saying}"),
        )
        .hint("turn the SFTP subsystem on, or install scp, on the server"),
        None => input.ended(),
    }
}

/// For the server's shell, which reads the command.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reaches_the_file_whatever_is_in_it() {
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("it's $(x)"), r"'it'\''s $(x)'");
    }

    #[test]
    fn a_record_is_taken_only_in_its_exact_shape() {
        assert_eq!(size_of("0644 123 fw.tar"), Some(123));
        assert_eq!(size_of("0644 123 ../../etc/passwd"), Some(123), "the name is never used");
        for record in [
            "",
            "0644",
            "0644 123",
            "0644 123 ",
            "0644 -1 x",
            "0644 +1 x",
            "9 1 x",
            "0644 18446744073709551616 x",
            " 1 x",
        ] {
            assert_eq!(size_of(record), None, "{record:?}");
        }
    }
}
