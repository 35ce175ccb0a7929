//! A scenario as the text that reads as the same: what a plan that was made by a program is handed on as.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use samara_protocol::swarm::config::Rules;

use super::{Fault, Nodes, Release, Scenario, ScenarioError};

/// What has to be said of each, so that all else is left out where it is as it is without a word.
const RELEASE: &str = "size = \"1MiB\"";
const NODES: &str = "count = 1\nrole = \"site\"\nup = \"1mbit\"\ndown = \"1mbit\"";
const FAULT: &str = "kind = \"kill\"\nat_s = 0.0";
const PLAN: &str = "name = \"\"\nnodes = []";

impl Scenario {
    /// The TOML of the plan.
    ///
    /// # Errors
    /// When it leaves out rules or is compared with another plan, which no file says, or its seed is above 2^63.
    pub fn to_toml(&self) -> Result<String, ScenarioError> {
        if self.rules != Rules::ALL || self.bound_s.is_some() {
            let what = "a plan of other rules or with the bound of another; use --without and --baseline";
            return Err(ScenarioError::Write(what.to_owned()));
        }
        let mut plan = table(self)?;
        shorten::<Self>(&mut plan, PLAN)?;
        each(&mut plan, "release", |release| shorten::<Release>(release, RELEASE))?;
        each(&mut plan, "nodes", |nodes| shorten::<Nodes>(nodes, NODES))?;
        each(&mut plan, "fault", |fault| shorten::<Fault>(fault, FAULT))?;
        toml::to_string(&plan).map_err(refused)
    }
}

fn each(
    plan: &mut Table,
    name: &str,
    change: impl Fn(&mut Table) -> Result<(), ScenarioError>,
) -> Result<(), ScenarioError> {
    let entries = plan.get_mut(name).and_then(Value::as_array_mut);
    let mut tables = entries.into_iter().flatten().filter_map(Value::as_table_mut);
    tables.try_for_each(change)
}

/// Leaves out what reads as the same when it is not there.
fn shorten<T: Serialize + DeserializeOwned>(entry: &mut Table, least: &str) -> Result<(), ScenarioError> {
    let said: Table = toml::from_str(least).map_err(refused)?;
    let unsaid = table(&toml::from_str::<T>(least).map_err(refused)?)?;
    entry.retain(|field, value| said.contains_key(field) || unsaid.get(field) != Some(value));
    Ok(())
}

fn table(value: &impl Serialize) -> Result<Table, ScenarioError> {
    Table::try_from(value).map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> ScenarioError {
    ScenarioError::Write(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::BUILT_IN;
    use super::*;
    use crate::chaos;

    fn again(plan: &Scenario) -> Scenario {
        let text = plan.to_toml().expect("can be said");
        let read = Scenario::parse("x", &text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        assert_eq!(format!("{plan:?}"), format!("{read:?}"), "{text}");
        read
    }

    #[test]
    fn what_is_written_reads_as_the_same_plan() {
        for seed in 0..500 {
            again(&chaos::scenario(seed));
        }
        for (name, _) in BUILT_IN {
            again(&Scenario::load(name).expect(name));
        }
        let plan = chaos::scenario(11);
        let traces = [&plan, &again(&plan)].map(|plan| crate::run(plan).expect("ends well").trace_hash);
        assert_eq!(traces[0], traces[1]);
    }

    #[test]
    fn only_what_is_not_so_anyway_is_written_and_what_cannot_be_is_refused() {
        let mut plan = Scenario::load("flash-release").expect("built in");
        let text = plan.to_toml().expect("can be said");
        for field in ["behaviour", "latency_ms = 0", "fault", "holds"] {
            assert!(!text.contains(field), "{field}: {text}");
        }
        plan.seed = u64::MAX;
        plan.to_toml().expect_err("no number of TOML");
        plan.seed = 0;
        plan.leave_out("help").expect("a rule");
        plan.to_toml().expect_err("a file cannot leave out rules");
    }
}
