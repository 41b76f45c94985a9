//! Who a handle becomes by `Handle::change_user`.

use super::secret::Secret;

/// What changes; what isn't given stays.
#[derive(Debug, Clone, Default)]
pub struct ChangeUserOpts {
    user: Option<Option<String>>,
    pass: Option<Option<Secret>>,
    db_name: Option<Option<String>>,
}

impl ChangeUserOpts {
    /// Nothing changes but the session, which is as new.
    pub const fn new() -> Self {
        ChangeUserOpts {
            user: None,
            pass: None,
            db_name: None,
        }
    }

    /// Another user.
    pub fn with_user(mut self, user: Option<String>) -> Self {
        self.user = Some(user);
        self
    }

    /// Another password.
    pub fn with_pass(mut self, pass: Option<String>) -> Self {
        self.pass = Some(pass.map(Secret::new));
        self
    }

    /// Another schema; `None`: none.
    pub fn with_db_name(mut self, db_name: Option<String>) -> Self {
        self.db_name = Some(db_name);
        self
    }

    /// The user, where it changes.
    pub fn user(&self) -> Option<Option<&str>> {
        self.user.as_ref().map(Option::as_deref)
    }

    /// The password, where it changes.
    pub fn pass(&self) -> Option<Option<&str>> {
        // Made from a `String`, so it is one.
        self.pass.as_ref().map(|pass| {
            pass.as_ref()
                .and_then(|s| std::str::from_utf8(s.expose()).ok())
        })
    }

    /// The schema, where it changes.
    pub fn db_name(&self) -> Option<Option<&str>> {
        self.db_name.as_ref().map(Option::as_deref)
    }
}
