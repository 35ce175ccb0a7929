//! Simpler ways to move a release, to compare with.

use samara_protocol::swarm::config::Rule;

use super::{Reseed, RoleName, Scenario, ScenarioError};
use crate::world::World;

/// Something simpler than Samara.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Baseline {
    /// Every site takes its own copy from the origin.
    OriginOnly,
    /// Random blocks from random neighbours, served to random neighbours, and an origin that serves like anybody else.
    Random,
}

impl Scenario {
    /// Leaves a rule out.
    ///
    /// # Errors
    /// When there is no rule of that name.
    pub fn leave_out(&mut self, name: &str) -> Result<(), ScenarioError> {
        let Some((rule, _)) = Rule::ALL.iter().find(|(_, known)| *known == name) else {
            let known: Vec<&str> = Rule::ALL.iter().map(|(_, name)| *name).collect();
            let what = format!("no rule `{name}`; known: {}", known.join(", "));
            return Err(ScenarioError::Value("without".to_owned(), what));
        };
        self.rules = self.rules.without(*rule);
        Ok(())
    }

    /// Turns it into a baseline, which is compared with the bound of the plan as it was.
    ///
    /// # Errors
    /// When the plan makes no sense.
    pub fn simplify(&mut self, baseline: Baseline) -> Result<(), ScenarioError> {
        self.bound_s = Some(World::new(self)?.bound());
        match baseline {
            Baseline::OriginOnly => {
                for nodes in self.nodes.iter_mut().filter(|nodes| nodes.role == RoleName::Site) {
                    (nodes.role, nodes.reseed) = (RoleName::Host, Reseed::None);
                }
                // Otherwise only as many as an origin has neighbours would get anything.
                self.neighbours = Some(self.nodes.iter().map(|nodes| nodes.count).sum());
            }
            Baseline::Random => {
                for rule in [Rule::OnceOnly, Rule::TakeOver, Rule::SpanShare] {
                    self.rules = self.rules.without(rule);
                }
            }
        }
        Ok(())
    }
}
