//! What a journal knows of its users, where it knows them.

use super::power::Power;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use tower_sturdy::journal::{Enlisted, Liveness, OwnerId};

#[derive(Debug)]
struct Owner {
    power: Power,
    place: Weak<()>,
}

/// Every owner that ever was, for the whole run.
#[derive(Debug, Default)]
pub struct Owners(Mutex<HashMap<u64, Owner>>);

impl Owners {
    /// An owner of the process with this switch; it ends with the process, or when its place is dropped.
    pub fn enlist(&self, owner: OwnerId, power: &Power) -> Enlisted {
        let place = Arc::new(());
        let known = Owner {
            power: power.clone(),
            place: Arc::downgrade(&place),
        };
        self.0.lock().unwrap().insert(owner.0, known);
        Box::new(place)
    }

    pub fn liveness(&self, owner: OwnerId) -> Liveness {
        match self.0.lock().unwrap().get(&owner.0) {
            Some(known) if known.power.is_on() && known.place.strong_count() > 0 => Liveness::Alive,
            Some(_) => Liveness::Dead,
            None => Liveness::Unknown,
        }
    }
}
