//! What the command line chose.

/// Which sections run, and how long.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Just to see that it works.
    pub quick: bool,
    /// A part of the names of the clients that take part.
    client: Option<String>,
    filters: Vec<String>,
}

impl Choice {
    /// The words without a dash choose sections by a part of their name; `--quick` makes rounds
    /// short, `--client=mysql_mux` leaves others out. Cargo passes `--bench`, which says nothing.
    pub fn from_args() -> Choice {
        let (flags, filters): (Vec<_>, Vec<_>) = std::env::args()
            .skip(1)
            .partition(|arg| arg.starts_with('-'));
        Choice {
            quick: flags.iter().any(|flag| flag == "--quick"),
            client: flags
                .iter()
                .find_map(|flag| flag.strip_prefix("--client=").map(str::to_owned)),
            filters,
        }
    }

    pub fn wants(&self, section: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|part| section.contains(part))
    }

    pub fn wants_client(&self, name: &str) -> bool {
        self.client.as_ref().is_none_or(|part| name.contains(part))
    }

    /// One of two, the latter for a quick run.
    pub fn or_quick<T>(&self, long: T, quick: T) -> T {
        if self.quick { quick } else { long }
    }
}
