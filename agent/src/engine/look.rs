//! What the appliance is and has, for whoever asks: gathered, never kept.

use reinstate_api::{Failure, InterfaceView, Network, Ssh, one_line};

use super::Engine;
use super::export::{KNOWN_HOSTS, TRUSTED_HOSTS};
use crate::fetch::trusted_hosts;
use crate::files::found;
use crate::network;

/// The largest file of host keys.
const MAX_HOSTS: u64 = 1 << 20;

impl Engine {
    pub async fn network(&self) -> Result<Network, Failure> {
        let parts = self.parts();
        let facts = parts.platform.facts().await?;
        let (hostname, here) = (&facts.device.hostname, &facts.hardware.interfaces);
        let mut network = network::read(&parts.root, &parts.profile, hostname, here)?;
        self.add_addresses(&mut network.management)?;
        Ok(network)
    }

    pub async fn interfaces(&self) -> Result<Vec<InterfaceView>, Failure> {
        let parts = self.parts();
        let facts = parts.platform.facts().await?;
        let mut views = network::interfaces(&parts.root, &parts.profile, &facts.hardware.interfaces)?;
        views.iter_mut().try_for_each(|view| self.add_addresses(view))?;
        Ok(views)
    }

    fn add_addresses(&self, view: &mut InterfaceView) -> Result<(), Failure> {
        let addresses = self.parts().platform.addresses(view)?;
        network::has_now(view, addresses);
        Ok(())
    }

    pub fn ssh(&self) -> Result<Ssh, Failure> {
        let parts = self.parts();
        let mut ssh = Ssh { access_list: self.access_list()?, ..Ssh::default() };
        for (folder, file, configured) in
            [(&parts.root, TRUSTED_HOSTS, true), (parts.store.folder(), KNOWN_HOSTS, false)]
        {
            let text = found(folder.read(file, MAX_HOSTS))?.unwrap_or_default();
            ssh.trusted_hosts.extend(trusted_hosts(&String::from_utf8_lossy(&text), configured));
        }
        Ok(ssh)
    }

    /// The networks from which sshd lets somebody in, as `configure` writes them: `AllowUsers *@192.0.2.0/24`.
    fn access_list(&self) -> Result<Vec<String>, Failure> {
        let Some(path) = &self.parts().profile.ssh.access_list else { return Ok(Vec::new()) };
        let text = found(self.parts().root.read(path, MAX_HOSTS))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let networks = text.lines().filter_map(|line| line.trim().strip_prefix("AllowUsers "));
        Ok(networks.flat_map(str::split_whitespace).map(one_line).map(from_anybody).collect())
    }
}

/// Without the users, where it is all of them.
fn from_anybody(pattern: String) -> String {
    pattern.strip_prefix("*@").map(str::to_owned).unwrap_or(pattern)
}
