//! What a handle's session begins with.

/// The schema and the statements that stand before a session's first statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SessionOpts {
    pub db_name: Option<String>,
    pub init: Vec<String>,
}
