//! What a handle's session begins with.

/// The schema and the statements that stand before a session's first statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SessionOpts {
    pub db_name: Option<String>,
    pub init: Vec<String>,
}

impl SessionOpts {
    /// But for the schema, a session that began with these is as one that began with the others.
    pub(crate) fn begins_like(&self, other: &Self) -> bool {
        // What init statements do may depend on the schema.
        self.init == other.init && (self.init.is_empty() || self.db_name == other.db_name)
    }
}
