//! The agent's own record.

use std::fs;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use reinstate_agent::files::{Direct, Folder};
use reinstate_agent::state::{FORMAT, StateFile};
use reinstate_api::Code;
use tempfile::TempDir;

use super::{refused, scratch};

static PLACE: LazyLock<Mutex<TempDir>> = LazyLock::new(|| Mutex::new(scratch()));

/// A record that is read is the same after it was written; one that is not read is left as it is.
pub fn state(input: &[u8]) {
    let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = place.path().join("state.toml");
    fs::write(&path, input).unwrap();
    let file = StateFile::new(Folder::open(place.path(), Arc::new(Direct)).unwrap());
    let state = match file.read() {
        Ok(state) => state,
        Err(failure) => {
            refused(&failure, &[Code::StateUnreadable]);
            assert_eq!(file.update(|_| Ok(())).unwrap_err(), failure);
            return assert_eq!(fs::read(&path).unwrap(), input);
        }
    };
    assert_eq!(state.format, FORMAT);
    assert!(state.needed().contains(&state.active));
    let _ = (state.meetings(), state.reboots(), state.owed());
    match file.update(|state| Ok(state.take_number())) {
        Ok(number) => {
            let mut after = state.clone();
            assert_eq!((number, after.take_number()), (state.next, number));
            after.revision += 1;
            assert_eq!(file.read().unwrap(), after);
        }
        Err(failure) => {
            refused(&failure, &[Code::Internal]);
            assert_eq!(file.read().unwrap(), state);
        }
    }
}
