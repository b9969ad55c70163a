//! The HA engine runs again where somebody has suspended it, or a restore's reboot has.

use reinstate_api::Failure;

use super::Engine;

impl Engine {
    /// Has the HA engine run with the configuration that is live; what it says then is known at once.
    ///
    /// # Errors
    /// `not-found` where this appliance is in no HA group; `profile-invalid` where its profile names no
    /// HA engine; `unhealthy` where the engine does not run afterwards.
    pub async fn resume_ha(&self) -> Result<(), Failure> {
        self.parts().platform.resume_ha().await?;
        self.learn_state().await;
        self.peers().look();
        self.refresh();
        Ok(())
    }
}
