//! What lies below the shell, where the vendor has it and an admin has opened it: always on record.

use jiff::Timestamp;
use reinstate_api::{Code, Expert, ExpertEntry, Failure};

use super::Engine;
use crate::state::Allowed;

impl Engine {
    /// Opens the expert mode, or closes it.
    ///
    /// # Errors
    /// `not-found` where this appliance has none.
    pub fn allow_expert(&self, allowed: bool, by: &str) -> Result<(), Failure> {
        if self.parts().profile.expert.is_none() {
            return Err(Failure::new(Code::NotFound, "this appliance has no expert mode"));
        }
        self.record(|state| {
            state.expert = allowed.then(|| Allowed { by: by.to_owned(), at: Timestamp::now() });
            Ok(())
        })?;
        let word = if allowed { "allows" } else { "forbids" };
        tracing::warn!(by, "expert mode: {by} {word} it");
        Ok(())
    }

    /// How to get there.
    ///
    /// # Errors
    /// `forbidden`, with the reason.
    pub fn expert(&self, entry: ExpertEntry, by: &str) -> Result<Expert, Failure> {
        let opened = self.open_expert().and_then(|expert| match entry.confined {
            true => {
                Err(Failure::new(Code::Forbidden, "this session began before the expert mode was allowed")
                    .hint("log in again to use it"))
            }
            false => Ok(expert),
        });
        match &opened {
            Ok(_) => tracing::warn!(by, "expert mode: {by} enters it"),
            Err(failure) => {
                tracing::warn!(by, code = %failure.code, "expert mode: {by} is refused: {failure}")
            }
        }
        opened
    }

    /// Whether it would open; a record that cannot be read opens nothing.
    pub fn is_expert_allowed(&self) -> bool {
        self.open_expert().is_ok()
    }

    fn open_expert(&self) -> Result<Expert, Failure> {
        let forbidden = |why: &str| Failure::new(Code::Forbidden, why);
        let parts = self.parts();
        let expert =
            parts.profile.expert.as_ref().ok_or_else(|| forbidden("this appliance has no expert mode"))?;
        if parts.state.read()?.expert.is_none() {
            return Err(forbidden("the expert mode is not allowed on this appliance")
                .hint("a user with config access allows it first: `configure expert allow`"));
        }
        Ok(Expert { text: expert.text.clone(), command: expert.command.clone() })
    }
}
