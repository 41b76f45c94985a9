//! How many links there may be, how long they live, and what may pin. Names and defaults are
//! HikariCP's where it has them.

use std::{sync::Arc, time::Duration};

use crate::{opts::target::LinkLimits, session::Policies};

/// What a time is cut to that doesn't fit into a clock's: longer than any program runs.
pub(super) const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// Limits of one mux; each holds for every key by itself.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub max_links: usize,
    pub min_idle_links: usize,
    pub max_idle_links: usize,
    pub max_lifetime: Duration,
    pub idle_timeout: Duration,
    pub linger: Duration,
    pub acquire_timeout: Duration,
    pub definitions_age: Duration,
    pub pin_policies: Policies,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_links: 10,
            min_idle_links: 0,
            max_idle_links: usize::MAX,
            max_lifetime: Duration::from_secs(30 * 60),
            idle_timeout: Duration::from_secs(10 * 60),
            linger: Duration::from_secs(10 * 60),
            acquire_timeout: Duration::from_secs(30),
            definitions_age: Duration::from_secs(60),
            pin_policies: Policies::default(),
        }
    }
}

impl Limits {
    /// Of a target that has its own.
    pub(super) fn of(self: &Arc<Self>, own: &LinkLimits) -> Arc<Limits> {
        if *own == LinkLimits::default() {
            return self.clone();
        }
        Arc::new(Limits {
            max_links: own.max_links.unwrap_or(self.max_links),
            min_idle_links: own.min_idle_links.unwrap_or(self.min_idle_links),
            max_idle_links: own.max_idle_links.unwrap_or(self.max_idle_links),
            ..(**self).clone()
        })
    }

    /// How often the housekeeper must look.
    pub(crate) fn tick(&self) -> Duration {
        let times = [
            self.max_lifetime,
            self.idle_timeout,
            self.linger,
            self.definitions_age,
        ];
        times
            .into_iter()
            .map(|d| d / 4)
            .min()
            .unwrap_or_default()
            .clamp(Duration::from_millis(20), Duration::from_secs(1))
    }
}
