//! Bundles: shown with what is in them, and taken apart.

use reinstate_api::{BundleDetails, Code, ExtractRequest, Extracted, Failure};

use super::Engine;
use crate::backups::check_name;
use crate::bundle;
use crate::files::Folder;

impl Engine {
    /// Takes the archive of one node, or all of them, out of a bundle in the backup folder. It goes on
    /// when whoever asked for it has gone.
    ///
    /// # Errors
    /// As [`bundle::extract`]; `bad-request` for a name with a folder; `busy` while a job or a backup is
    /// running.
    pub async fn extract(&self, request: ExtractRequest) -> Result<Extracted, Failure> {
        check_name(&request.bundle)?;
        self.alone(|engine| async move {
            let all = engine.take_all_names()?;
            let done = tokio::task::spawn_blocking(move || {
                let _all = all;
                let inner = &engine.inner;
                let limits = &inner.parts.profile.limits;
                let node = request.node.as_deref();
                bundle::extract(&inner.bundles, &engine.backups()?, &request.bundle, node, limits)
            });
            done.await.map_err(|_| Failure::new(Code::Internal, "the extracting thread ended early"))?
        })
        .await
    }

    pub(super) fn bundle_details(&self, backups: &Folder, file: &str) -> Result<BundleDetails, Failure> {
        self.inner.bundles.details(backups, file, &self.parts().profile.limits)
    }
}
