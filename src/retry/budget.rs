//! How many retries a tenant may still make: exact integers, no clock.
//!
//! A tenant starts with a full reserve. Each retry takes one whole token, each first attempt gives back a share of one,
//! never above the reserve. So over any sequence, retries <= reserve + share * first attempts. Only tenants below their
//! reserve are remembered: while nothing fails, nothing is kept and nothing is locked.

use super::layer::BudgetConfig;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// One retry, in thousandths.
const TOKEN: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Budget {
    full: u64,
    share: u64,
    tenants_max: usize,
    /// The length of `spent`, readable without the lock.
    tenants: AtomicUsize,
    /// Balances of the tenants that are below the reserve.
    spent: Mutex<HashMap<Box<str>, u64>>,
}

impl Budget {
    pub(super) fn new(config: &BudgetConfig) -> Self {
        Self {
            full: u64::from(config.reserve) * TOKEN,
            share: u64::from(config.percent) * (TOKEN / 100),
            tenants_max: config.tenants_max,
            tenants: AtomicUsize::new(0),
            spent: Mutex::default(),
        }
    }

    /// Whether some tenant is below its reserve; if none is, a deposit changes nothing.
    pub(super) fn is_touched(&self) -> bool {
        self.tenants.load(Ordering::Relaxed) != 0
    }

    /// A first attempt of `tenant`.
    pub(super) fn deposit(&self, tenant: &str) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(balance) = spent.get_mut(tenant) else {
            return;
        };
        *balance += self.share;
        if *balance >= self.full {
            spent.remove(tenant);
            self.tenants.store(spent.len(), Ordering::Relaxed);
        }
    }

    /// Takes one retry from `tenant`'s budget, if it has one.
    pub(super) fn withdraw(&self, tenant: &str) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(balance) = spent.get_mut(tenant) {
            if *balance < TOKEN {
                return false;
            }
            *balance -= TOKEN;
            return true;
        }
        if self.full < TOKEN {
            return false;
        }
        if spent.len() >= self.tenants_max {
            forget_fullest(&mut spent);
        }
        spent.insert(Box::from(tenant), self.full - TOKEN);
        self.tenants.store(spent.len(), Ordering::Relaxed);
        true
    }
}

/// Forgets the tenant that gains least by being taken as new.
fn forget_fullest(spent: &mut HashMap<Box<str>, u64>) {
    let fullest = spent
        .iter()
        .max_by_key(|(_, balance)| **balance)
        .map(|(tenant, _)| tenant.clone());
    if let Some(tenant) = fullest {
        spent.remove(&tenant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn retries_never_exceed_the_reserve_and_the_share_of_first_attempts(
            reserve in 0_u32..20,
            percent in 0_u32..=100,
            steps in prop::collection::vec((0_usize..3, any::<bool>()), 0..400),
        ) {
            let budget = Budget::new(&BudgetConfig { reserve, percent, tenants_max: 3 });
            let (mut first, mut retries) = ([0_u64; 3], [0_u64; 3]);
            for (tenant, is_first) in steps {
                let name = ["a", "b", "c"][tenant];
                if is_first {
                    first[tenant] += 1;
                    budget.deposit(name);
                } else if budget.withdraw(name) {
                    retries[tenant] += 1;
                }
                prop_assert!(
                    retries[tenant] * 100 <= u64::from(reserve) * 100 + u64::from(percent) * first[tenant]
                );
            }
        }

        #[test]
        fn the_tenants_kept_are_bounded(steps in prop::collection::vec((0_u8..50, any::<bool>()), 0..400)) {
            let budget = Budget::new(&BudgetConfig { reserve: 2, percent: 20, tenants_max: 4 });
            for (tenant, is_first) in steps {
                let name = tenant.to_string();
                if is_first {
                    budget.deposit(&name);
                } else {
                    let _ = budget.withdraw(&name);
                }
                let kept = budget.spent.lock().unwrap().len();
                prop_assert!(kept <= 4);
                prop_assert_eq!(kept, budget.tenants.load(Ordering::Relaxed));
            }
        }
    }

    #[test]
    fn one_tenants_storm_leaves_the_others_their_budget() {
        let budget = Budget::new(&BudgetConfig {
            reserve: 2,
            percent: 20,
            tenants_max: 10,
        });
        while budget.withdraw("storm") {}
        assert!(budget.withdraw("calm"));
    }

    #[test]
    fn five_first_attempts_buy_one_retry_at_twenty_percent() {
        let budget = Budget::new(&BudgetConfig {
            reserve: 1,
            percent: 20,
            tenants_max: 10,
        });
        assert!(budget.withdraw("t"));
        for _ in 0..4 {
            budget.deposit("t");
            assert!(!budget.withdraw("t"));
        }
        budget.deposit("t");
        assert!(budget.withdraw("t"));
    }
}
