//! What no two runs share, as placeholders that are as wide where it stands in a table.

/// `9` stands for a digit, `f` for a hexadecimal one, `~` for one of a fingerprint; the rest for itself.
const FIXED: [(&str, &str); 11] = [
    ("9999-99-99 99:99:99 UTC", "YYYY-MM-DD hh:mm:ss UTC"),
    // Where a line is broken within one, or a table has it to the minute.
    ("9999-99-99 99:99:99", "YYYY-MM-DD hh:mm:ss"),
    ("9999-99-99 99:99", "YYYY-MM-DD hh:mm"),
    ("99:99:99 UTC", "hh:mm:ss UTC"),
    ("9999-99-99", "YYYY-MM-DD"),
    ("ffffffff-ffff-4fff-ffff-ffffffffffff", "<uuid..............................>"),
    (
        "SHA256:~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        "SHA256:<fingerprint...............................>",
    ),
    (
        "MD5:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff",
        "MD5:<fingerprint...................................>",
    ),
    ("_99999999999999.", "_YYYYMMDDhhmmss."),
    ("-99999999999999.", "-YYYYMMDDhhmmss."),
    ("99999999T999999Z", "YYYYMMDDThhmmssZ"),
];

/// What a job shows of itself while it goes on: whether it is seen depends on how fast the job is.
const FLEETING: [&str; 10] = [
    "Receiving ",
    "Receiving: ",
    "Received ",
    "Taking the restore lock",
    "Taking a snapshot of ",
    "Checking the new configuration",
    "Committing",
    "Committed: ",
    "Activating the new configuration",
    "Finishing: ",
];

/// Numbers in JSON that are another machine's.
const COUNTS: [&str; 8] =
    ["bytes", "size", "free", "inodes", "free_inodes", "uptime", "backups", "configurations"];

/// What was recorded, as it is kept: `values` are what this run alone has.
pub fn normal(record: &[u8], values: &[(&'static str, String)]) -> String {
    let mut text = String::from_utf8_lossy(record).replace("\r\n", "\n");
    for (name, value) in values {
        // A word like the user's name stands elsewhere too.
        if value.len() > 8 || *name == "{port}" {
            text = text.replace(value.as_str(), &name.replace('{', "<").replace('}', ">"));
        }
    }
    // The file that the backup was made into is named in it.
    text.replace(super::place::FILE, "fw-a.file.kept")
        .split('\n')
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
        .replace("fw-a.file.kept", super::place::FILE)
}

fn line(text: &str) -> String {
    let mut text = visible(&without_bars(text));
    text = replaced(&text, rfc3339);
    for (pattern, shown) in FIXED {
        text = replaced(&text, |rest| fits(pattern, rest).map(|length| (length, shown.to_owned())));
    }
    if let Some((before, after)) = text.split_once("<time>")
        && before.trim_matches(['"', ' ']).is_empty()
        && [" INFO", " WARN", "ERROR"]
            .iter()
            .any(|level| after.trim_start_matches(' ').starts_with(level.trim()))
    {
        return format!("{before}<time> <logged>");
    }
    text = replaced(&text, size);
    text = replaced(&text, milliseconds);
    for name in COUNTS {
        if let Some((before, value)) = text.split_once(&format!("\"{name}\": "))
            && value.starts_with(|c: char| c.is_ascii_digit())
        {
            let comma = if value.ends_with(',') { "," } else { "" };
            return format!("{before}\"{name}\": <number>{comma}");
        }
    }
    for (key, shown) in
        [("Up", "<span>"), ("Restore agent", "<version>"), ("Synchronized", "<yes or no or not known>")]
    {
        if text.starts_with(key) && text.get(26..28) == Some(": ") {
            return format!("{}{shown}", &text[..28]);
        }
    }
    if let Some((before, _)) = text.split_once("ssh-ed25519 AAAA") {
        return format!("{before}ssh-ed25519 <key>");
    }
    text
}

/// The rest of a line behind a carriage return is drawn over it: a bar was there.
fn without_bars(line: &str) -> String {
    let parts: Vec<&str> = line.split('\r').collect();
    let is_bar = |part: &&str| part.starts_with('[') && part.contains("iB") || part.starts_with("[  ");
    if !parts.iter().any(is_bar) {
        return line.to_owned();
    }
    let is_wiped = |part: &&str| part.trim_matches([' ', '\u{8}']).is_empty();
    parts.into_iter().filter(|part| !is_bar(part) && !is_wiped(part)).collect()
}

/// Control characters by their pictures.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(c),
            '\u{7f}' => '\u{2421}',
            c => c,
        })
        .collect()
}

/// Puts something in the place of whatever `find` finds at the beginning of a rest, with its length in bytes.
fn replaced(text: &str, find: impl Fn(&str) -> Option<(usize, String)>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        match find(rest) {
            Some((length, shown)) => {
                out += &shown;
                rest = &rest[length..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

fn fits(pattern: &str, text: &str) -> Option<usize> {
    let mut bytes = text.bytes();
    for expected in pattern.bytes() {
        let byte = bytes.next()?;
        let so = match expected {
            b'9' => byte.is_ascii_digit(),
            b'f' => byte.is_ascii_hexdigit(),
            b'~' => byte.is_ascii_alphanumeric() || b"+/".contains(&byte),
            other => byte == other,
        };
        if !so {
            return None;
        }
    }
    Some(pattern.len())
}

fn rfc3339(text: &str) -> Option<(usize, String)> {
    let seconds = fits("9999-99-99T99:99:99", text)?;
    let rest = &text[seconds..];
    let digits = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    digits.starts_with('Z').then(|| (text.len() - digits.len() + 1, "<time>".to_owned()))
}

/// `1.5 MiB`, as wide as it was; `512 bytes` alike.
fn size(text: &str) -> Option<(usize, String)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 {
        return None;
    }
    let rest = &text[digits..];
    if fits(".9 ", rest).is_some()
        && ["KiB", "MiB", "GiB", "TiB"].iter().any(|unit| rest[3..].starts_with(unit))
    {
        return Some((digits + 3, format!("{}.n ", "n".repeat(digits))));
    }
    rest.starts_with(" bytes").then(|| (digits, "n".repeat(digits)))
}

fn milliseconds(text: &str) -> Option<(usize, String)> {
    let number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.len() - number.len();
    (digits > 0 && fits(".999 ms", number).is_some()).then(|| (digits + 7, "n.nnn ms".to_owned()))
}

/// Without the lines that one run shows and another does not.
pub fn lasting(text: &str) -> Vec<&str> {
    let mut lasting: Vec<&str> = Vec::new();
    for line in text.lines().filter(|line| !FLEETING.iter().any(|start| line.starts_with(start))) {
        if line == "Backup Details" {
            // Notes that are there before the question are told before it, where they are seen in time, and with it.
            let frame = lasting.pop();
            while lasting.pop_if(|line| line.starts_with("  - ") || line.starts_with("    ")).is_some() {}
            lasting.extend(frame);
        }
        lasting.push(line);
    }
    lasting
}

/// Numbers as one sign and runs of spaces as two: in a table of this machine's numbers no column stays where it is.
pub fn squeezed(text: &str) -> String {
    let text = replaced(text, |rest| {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c == 'n' || c.is_ascii_digit()).len();
        let number = rest[..digits].contains(|c: char| c.is_ascii_digit()) && digits > 3
            || rest[digits..].starts_with(".n ");
        (digits > 0 && number).then(|| (digits, "n".to_owned()))
    });
    let mut out = String::new();
    let mut spaces = 0;
    for c in text.chars() {
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        if spaces <= 2 {
            out.push(c);
        }
    }
    out
}

#[test]
fn what_no_two_runs_share_is_a_placeholder_and_the_rest_stays() {
    for (text, kept) in [
        ("at 2026-01-05 08:00:00 UTC; `x`", "at YYYY-MM-DD hh:mm:ss UTC; `x`"),
        ("fw-a_20260728080011.tar  1.5 MiB", "fw-a_YYYYMMDDhhmmss.tar  n.n MiB"),
        ("\"at\": \"2026-01-05T08:00:00.123Z\",", "\"at\": \"<time>\","),
        ("2026-01-05T08:00:00Z  INFO reinstate: x", "<time> <logged>"),
        ("\u{1b}[H> \u{8}", "␛[H> ␈"),
        ("\r[=    ]  10%, 1.0 KiB of 2.0 KiB\r      \rdone", "done"),
        ("--More--\r        \rline", "--More--␍        ␍line"),
        ("time 10.034 ms", "time n.nnn ms"),
        ("version 7.4.1 (Build 172)", "version 7.4.1 (Build 172)"),
    ] {
        assert_eq!(line(text), kept);
    }
}
