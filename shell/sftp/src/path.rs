//! Which of the few things that are shown a client's path means.

use reinstate_api::{BACKUP_FOLDER, one_line};

use crate::packet::Code;

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder above the backups, by what is in it.
    Above {
        path: String,
        holds: &'static str,
    },
    Backups,
    /// A file in the backup folder, whether it is there or not.
    File(String),
    Elsewhere(String),
}

impl Place {
    /// As a client is told where it is.
    pub fn path(&self) -> String {
        match self {
            Place::Above { path, .. } | Place::Elsewhere(path) => path.clone(),
            Place::Backups => format!("/{BACKUP_FOLDER}"),
            Place::File(name) => format!("/{BACKUP_FOLDER}/{name}"),
        }
    }
}

/// A path without a slash at its front begins at the backup folder.
///
/// # Errors
/// A status with its sentence: what is no text, and `..`, which is followed nowhere.
pub fn place(path: &[u8]) -> Result<Place, (Code, String)> {
    let Ok(text) = std::str::from_utf8(path) else {
        let shown = one_line(&String::from_utf8_lossy(path));
        return Err((Code::BadMessage, format!("'{shown}' is not UTF-8, which names here are")));
    };
    let mut parts: Vec<_> =
        if text.starts_with('/') { Vec::new() } else { BACKUP_FOLDER.split('/').collect() };
    parts.extend(text.split('/').filter(|part| !part.is_empty() && *part != "."));
    if parts.contains(&"..") {
        let message = format!("'{}' leads elsewhere: '..' is not followed", one_line(text));
        return Err((Code::PermissionDenied, message));
    }
    let folder: Vec<&'static str> = BACKUP_FOLDER.split('/').collect();
    let same = folder.iter().zip(&parts).take_while(|(one, other)| one == other).count();
    Ok(match (folder.get(same), &parts[same..]) {
        (None, []) => Place::Backups,
        (None, [file]) => Place::File((*file).to_owned()),
        (Some(holds), []) => Place::Above { path: format!("/{}", parts.join("/")), holds },
        _ => Place::Elsewhere(one_line(&format!("/{}", parts.join("/")))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_backup_folder_or_a_file_in_it_or_nothing() {
        for folder in ["", ".", "./", "/var/sf/backup", "/var/sf/backup/", "//var//sf/./backup/."] {
            assert_eq!(place(folder.as_bytes()), Ok(Place::Backups), "{folder}");
        }
        for file in ["a.tar", "./a.tar", "/var/sf/backup/a.tar", "/var/sf/backup//a.tar/"] {
            assert_eq!(place(file.as_bytes()), Ok(Place::File("a.tar".into())), "{file}");
        }
        for (above, holds) in [("/", "var"), ("/var", "sf"), ("/var/sf/", "backup")] {
            assert!(
                matches!(place(above.as_bytes()), Ok(Place::Above { holds: h, .. }) if h == holds),
                "{above}"
            );
        }
        for other in ["/etc/passwd", "a/b", "/var/sf/backup/a/b", "/var/sf/backups", "/var/lib", "/backup"] {
            let place = place(other.as_bytes());
            assert!(matches!(place, Ok(Place::Elsewhere(_))), "{other}: {place:?}");
        }
    }

    #[test]
    fn no_path_leads_upwards() {
        for path in ["..", "../etc", "a/../../x", "/var/sf/backup/..", "/var/sf/backup/../../../etc/shadow"] {
            assert_eq!(place(path.as_bytes()).unwrap_err().0, Code::PermissionDenied, "{path}");
        }
        assert_eq!(place(b"a\xff").unwrap_err().0, Code::BadMessage);
    }
}
