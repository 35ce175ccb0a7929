//! Sites, nodes and hosts of which each is another than the next: what a [`Plan`](super::Plan) of alike sites cannot say.

use std::path::PathBuf;

use anyhow::Result;

use super::{Actor, CHANNEL, Network, Node, NodeConfig, PRODUCT, VERB};
use crate::Finished;

/// Who is to be enrolled, and where it runs.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Unique in the network.
    pub name: &'a str,
    /// Its place.
    pub place: &'a str,
    /// Who holds the key of its site.
    pub keeper: &'a Actor,
}

impl Network {
    /// A site of its own with its key: the vendor has granted it the product. It has no node yet.
    ///
    /// # Errors
    /// The verb that failed and what it said.
    pub fn found_site(&self, name: &str, tenant: &str, reseed: &str) -> Result<Actor> {
        let keeper = Actor::new(self.folder.path(), &format!("keeper-{name}"), None)?;
        self.grant_site(&keeper, name, tenant, reseed)?;
        Ok(keeper)
    }

    /// A node of such a site; it is not started. Of one that is not `dialled` nobody is told where to dial it.
    ///
    /// # Errors
    /// As [`Network::found_site`].
    pub fn member_node(&self, member: &Member<'_>, config: &NodeConfig, dialled: bool) -> Result<Node> {
        let node = Node::new(self.actor_in(member.name, member.place)?, "site", config)?;
        let address = node.address();
        let told: &[&str] = if dialled { &["--address", &address] } else { &[] };
        self.enrol(&node.actor, member.keeper, "node", member.name, told)?;
        Ok(node)
    }

    /// A host of such a site, which asks whom its site's key says, or the origin where the site has no node.
    ///
    /// # Errors
    /// As [`Network::found_site`].
    pub fn member_host(&self, member: &Member<'_>) -> Result<Actor> {
        let host = self.actor_in(member.name, member.place)?;
        self.enrol(&host, member.keeper, "host", member.name, &[])?;
        Ok(host)
    }

    fn actor_in(&self, name: &str, place: &str) -> Result<Actor> {
        let places = self.plan.places.clone();
        let place = places.map(|places| (places, place.to_owned()));
        Actor::new(self.folder.path(), name, place)
    }

    /// The site's key, the vendor's grant for it, and that the keeper has joined it; where the grant is.
    pub(super) fn grant_site(&self, keeper: &Actor, name: &str, tenant: &str, reseed: &str) -> Result<PathBuf> {
        let request = self.exchange(&format!("{name}.key.request"));
        let granted = self.exchange(&format!("{name}.grant"));
        keeper.run([
            "site".as_ref(),
            "init".as_ref(),
            "--output".as_ref(),
            request.as_os_str(),
        ])?;
        let mut grant = self.vendor_command(["grant", "--product", PRODUCT, "--channel", CHANNEL, "--reseed", reseed]);
        grant.args(["--tenant", tenant, "--site", name]).arg(&request);
        Finished::of(grant.arg("--output").arg(&granted), VERB)?.success()?;
        keeper.run(["join".as_ref(), granted.as_os_str()])?;
        Ok(granted)
    }
}
