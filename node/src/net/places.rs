//! How many peers there may be of each kind, so that nobody takes the places of others: see `limits`.

use samara_protocol::limits::{
    HOSTS_PER_SITE_MAX, NODES_PER_SITE_MAX, OTHERS_HOSTS_MAX, OTHERS_LET_IN_MAX, OTHERS_NODES_MAX, PEERS_LET_IN_MAX,
    PEERS_MAX,
};

use super::gate::Seat;

/// One place: whose, and whether this node dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seat: Seat,
    pub(super) dialled_by_us: bool,
}

/// Whether there is room for one more beside those that are taken.
pub(super) fn has_room(taken: impl Iterator<Item = Place>, wanted: Place) -> bool {
    let taken: Vec<Place> = taken.collect();
    if wanted.dialled_by_us {
        return taken.len() < PEERS_MAX;
    }
    let let_in: Vec<Seat> = taken
        .iter()
        .filter(|place| !place.dialled_by_us)
        .map(|place| place.seat)
        .collect();
    let count = |is_one: &dyn Fn(&Seat) -> bool| let_in.iter().filter(|seat| is_one(seat)).count();
    if taken.len() >= PEERS_MAX || let_in.len() >= PEERS_LET_IN_MAX {
        return false;
    }
    let (kind, kind_max, site_max) = match wanted.seat {
        Seat::Own => return true,
        Seat::Node(_) => (
            count(&|seat| matches!(seat, Seat::Node(_))),
            OTHERS_NODES_MAX,
            NODES_PER_SITE_MAX,
        ),
        Seat::Host(_) => (
            count(&|seat| matches!(seat, Seat::Host(_))),
            OTHERS_HOSTS_MAX,
            HOSTS_PER_SITE_MAX,
        ),
    };
    count(&|seat| *seat != Seat::Own) < OTHERS_LET_IN_MAX
        && kind < kind_max
        && count(&|seat| *seat == wanted.seat) < site_max
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn came(seat: Seat) -> Place {
        Place {
            seat,
            dialled_by_us: false,
        }
    }

    /// Lets in as many as there is room for.
    fn fill(taken: &mut Vec<Place>, mut seat: impl FnMut(u8) -> Seat) -> usize {
        let before = taken.len();
        for number in 0..=255 {
            let place = came(seat(number));
            if has_room(taken.iter().copied(), place) {
                taken.push(place);
            }
        }
        taken.len() - before
    }

    #[test]
    fn one_customers_keys_leave_the_places_to_others() {
        let mut taken = Vec::new();
        assert_eq!(fill(&mut taken, |_| Seat::Host([1; 16])), HOSTS_PER_SITE_MAX);
        assert_eq!(fill(&mut taken, |_| Seat::Node([1; 16])), NODES_PER_SITE_MAX);
        assert_eq!(fill(&mut taken, |_| Seat::Node([2; 16])), NODES_PER_SITE_MAX);
    }

    #[test]
    fn all_others_together_leave_places_to_the_own_site_and_all_who_dial_to_those_who_are_dialled() {
        let mut taken = Vec::new();
        assert_eq!(fill(&mut taken, |number| Seat::Host([number; 16])), OTHERS_HOSTS_MAX);
        let nodes = OTHERS_LET_IN_MAX - OTHERS_HOSTS_MAX;
        assert_eq!(fill(&mut taken, |number| Seat::Node([number; 16])), nodes);
        assert_eq!(fill(&mut taken, |_| Seat::Own), PEERS_LET_IN_MAX - OTHERS_LET_IN_MAX);
        let dialled = Place {
            seat: Seat::Node([9; 16]),
            dialled_by_us: true,
        };
        while has_room(taken.iter().copied(), dialled) {
            taken.push(dialled);
        }
        assert_eq!(taken.len(), PEERS_MAX);
        let mut taken = Vec::new();
        assert_eq!(fill(&mut taken, |number| Seat::Node([number; 16])), OTHERS_NODES_MAX);
    }

    #[test]
    fn the_own_site_takes_its_places_and_none_of_others_share() {
        let mut taken = Vec::new();
        assert_eq!(fill(&mut taken, |_| Seat::Own), PEERS_LET_IN_MAX);
        taken.truncate(PEERS_LET_IN_MAX - HOSTS_PER_SITE_MAX);
        assert_eq!(
            fill(&mut taken, |_| Seat::Host([1; 16])),
            HOSTS_PER_SITE_MAX,
            "the own ones do not count"
        );
    }
}
