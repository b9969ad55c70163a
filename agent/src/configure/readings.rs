//! Writes a value where the profile says that it is read.

use reinstate_api::{Code, Failure};

use crate::profile::Reading;

/// The file's text with that value in it.
///
/// # Errors
/// `profile-invalid` for a folder, which holds names and no value.
pub fn set(text: &str, reading: &Reading, value: &str) -> Result<String, Failure> {
    match reading {
        Reading::File(_) => Ok(format!("{value}\n")),
        Reading::Key(_, key) => Ok(set_key(text, key, value)),
        Reading::Folder(path) => Err(Failure::new(
            Code::ProfileInvalid,
            format!("{path} is a folder, and no value is kept in one"),
        )),
    }
}

/// The first of the key's lines takes the value, the others go; without one, a line is added.
fn set_key(text: &str, key: &str, value: &str) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:@/+,".contains(c);
    let quote = if value.chars().all(plain) { "" } else { "\"" };
    let mut new = Some(format!("{key}={quote}{value}{quote}{end}"));
    let mut whole = String::with_capacity(text.len() + value.len());
    for line in text.split_inclusive('\n') {
        match line.split_once('=') {
            Some((name, _)) if name.trim() == key => whole.extend(new.take()),
            _ => whole.push_str(line),
        }
    }
    if let Some(line) = new {
        if !whole.is_empty() && !whole.ends_with('\n') {
            whole.push_str(end);
        }
        whole.push_str(&line);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str, value: &str) -> String {
        set(text, &Reading::Key("etc/a".parse().unwrap(), "NAME".into()), value).unwrap()
    }

    #[test]
    fn a_key_changes_and_everything_else_stays() {
        let text = "# NAME=not this\nUUID=1\nNAME=old\nNAME=again\nROLE=x\n";
        assert_eq!(key(text, "new"), "# NAME=not this\nUUID=1\nNAME=new\nROLE=x\n");
        assert_eq!(key(&key(text, "new"), "new"), key(text, "new"));
        assert_eq!(key("UUID=1", "new"), "UUID=1\nNAME=new\n");
        assert_eq!(key("", "two words"), "NAME=\"two words\"\n");
        assert_eq!(key("NAME=a\r\nB=c\r\n", "d"), "NAME=d\r\nB=c\r\n");
    }

    #[test]
    fn a_file_is_its_value_and_a_folder_has_none() {
        let path: crate::tree::TreePath = "etc/hostname".parse().unwrap();
        assert_eq!(set("old\n", &Reading::File(path.clone()), "fw").unwrap(), "fw\n");
        assert!(set("", &Reading::Folder(path), "fw").is_err());
    }
}
