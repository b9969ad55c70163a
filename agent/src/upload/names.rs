//! Who is at work on which file of the backup folder: it is changed by one at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reinstate_api::{Code, Failure};

/// Uploads at once.
const UPLOADS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Upload,
    Other,
    /// Of every file.
    All,
}

/// The names that are taken.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<BTreeMap<String, Use>>>);

/// A name that is taken until this is dropped.
pub struct Name {
    names: Names,
    file: String,
}

impl Names {
    /// # Errors
    /// `busy` where somebody else has it.
    pub fn take(&self, file: &str) -> Result<Name, Failure> {
        self.insert(file, Use::Other)
    }

    /// # Errors
    /// `busy` where somebody else has it, or where as many uploads as there may be are under way.
    pub fn take_for_upload(&self, file: &str) -> Result<Name, Failure> {
        self.insert(file, Use::Upload)
    }

    /// # Errors
    /// `busy` where somebody has one.
    pub fn take_all(&self) -> Result<Name, Failure> {
        self.insert("", Use::All)
    }

    fn insert(&self, file: &str, how: Use) -> Result<Name, Failure> {
        let mut taken = self.lock();
        if let Some((other, _)) =
            taken.iter().find(|(other, other_s)| how == Use::All || **other_s == Use::All || *other == file)
        {
            return Err(in_use(other));
        }
        let uploads = taken.values().filter(|how| **how == Use::Upload).count();
        if how == Use::Upload && uploads >= UPLOADS {
            return Err(Failure::new(
                Code::Busy,
                format!("{uploads} uploads to /var/sf/backup are under way; at most {UPLOADS} are taken"),
            )
            .hint("try again when one of them has ended"));
        }
        taken.insert(file.to_owned(), how);
        Ok(Name { names: self.clone(), file: file.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Use>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.names.lock().remove(&self.file);
    }
}

fn in_use(file: &str) -> Failure {
    let message = match file {
        "" => "backups are being imported or taken out of a bundle".to_owned(),
        file => format!("{file} in /var/sf/backup is in use: it is being copied, or a job reads it"),
    };
    Failure::new(Code::Busy, message).hint("try again when that has ended; `show restore` shows a job")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_worked_on_by_one_at_a_time() {
        let names = Names::default();
        let a = names.take_for_upload("a").unwrap();
        assert_eq!(names.take("a").err().unwrap().code, Code::Busy);
        assert_eq!(names.take_for_upload("a").err().unwrap().code, Code::Busy);
        assert_eq!(names.take_all().err().unwrap().code, Code::Busy);
        names.take("b").unwrap();
        drop(a);
        let all = names.take_all().unwrap();
        assert_eq!(names.take("c").err().unwrap().code, Code::Busy);
        drop(all);
        names.take("c").unwrap();
    }

    #[test]
    fn four_uploads_are_taken_at_once_and_a_fifth_when_one_has_ended() {
        let names = Names::default();
        let mut taken: Vec<_> = ["a", "b", "c", "d"].map(|n| names.take_for_upload(n).unwrap()).into();
        assert_eq!(names.take_for_upload("e").err().unwrap().code, Code::Busy);
        names.take("e").unwrap();
        taken.pop();
        names.take_for_upload("e").unwrap();
    }
}
