//! The scheduler's rules by name, so that a simulation can leave one out and see what it earns (docs/scheduler.md has the
//! table). A node runs with all of them.

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// An origin serves the neediest of those who wait; without it whoever was not served for longest.
    Neediest,
    /// An origin shows each block to one node of a domain first; without it everything to everybody.
    OnceOnly,
    /// An origin sends blocks again where its uplink would idle.
    Help,
    /// What waits or is slow elsewhere is taken over by an idle neighbour.
    TakeOver,
    /// No request, and nothing outstanding at one peer, is more than an eighth of what is missing.
    SpanShare,
    /// Four neighbours are served at a time; without it one.
    FourSlots,
    /// Further slots are tried and kept when they raise the rate.
    MoreSlots,
}

impl Rule {
    /// All of them, with the names by which simulations leave them out.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Neediest, "neediest"),
        (Self::OnceOnly, "once-only"),
        (Self::Help, "help"),
        (Self::TakeOver, "take-over"),
        (Self::SpanShare, "span-share"),
        (Self::FourSlots, "four-slots"),
        (Self::MoreSlots, "more-slots"),
    ];
}

/// Which rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules(u16);

impl Default for Rules {
    fn default() -> Self {
        Self::ALL
    }
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self(u16::MAX);

    /// The same without one.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u8))
    }

    /// Whether a rule holds.
    #[must_use]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_and_can_be_left_out_alone() {
        for (rule, name) in Rule::ALL {
            let rules = Rules::default().without(rule);
            let left: Vec<&str> = Rule::ALL
                .iter()
                .filter(|(rule, _)| !rules.has(*rule))
                .map(|(_, name)| *name)
                .collect();
            assert_eq!(left, [name]);
        }
    }
}
