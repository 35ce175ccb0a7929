//! What can be put on the links.

use anyhow::Result;
use clap::ValueEnum;

use super::{Barrier, Bed, Run, chain, http, libtorrent, own, rqbit};

/// One program that brings a file from the origin to every site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Program {
    /// Ours.
    #[value(skip)]
    Samara,
    /// BitTorrent as most clients have it.
    Libtorrent,
    /// The same with an origin that super-seeds.
    LibtorrentSuper,
    /// BitTorrent in Rust.
    Rqbit,
    /// nginx and curl: no site helps another.
    Http,
    /// A bare forwarding chain: what the test bed allows.
    Chain,
}

impl Program {
    /// Its key in the results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Samara => "samara",
            Self::Libtorrent => "libtorrent",
            Self::LibtorrentSuper => "libtorrent-super",
            Self::Rqbit => "rqbit",
            Self::Http => "http",
            Self::Chain => "chain",
        }
    }

    /// Whether this machine has it.
    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::Samara | Self::Chain => true,
            Self::Libtorrent | Self::LibtorrentSuper => libtorrent::is_installed(),
            Self::Rqbit => rqbit::is_installed(),
            Self::Http => http::is_installed(),
        }
    }

    /// Sets it up, calls `barrier` when all is ready, has every site fetch, and ends it again.
    pub(crate) fn run(self, bed: &Bed<'_>, barrier: &mut Barrier<'_>) -> Result<Run> {
        match self {
            Self::Samara => own::run(bed, barrier),
            Self::Libtorrent => libtorrent::run(bed, false, barrier),
            Self::LibtorrentSuper => libtorrent::run(bed, true, barrier),
            Self::Rqbit => rqbit::run(bed, barrier),
            Self::Http => http::run(bed, barrier),
            Self::Chain => chain::run(bed, barrier),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rival_is_asked_for_by_the_name_that_its_results_have() {
        for program in Program::value_variants() {
            let asked = Program::from_str(program.name(), false).expect("its own name");
            assert_eq!(asked, *program);
        }
        assert!(Program::from_str("samara", false).is_err(), "it always runs");
    }
}
