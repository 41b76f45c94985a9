//! What is no statement: the protocol's commands, and those that make the session new or another user's.

use std::sync::Arc;

use super::{Seat, alone::Running, plan::Plan};
use crate::{
    error::{Error, Result},
    link::{NOBODY, Prepared},
    mux::{
        op::{Done, Op},
        wish::Need,
    },
    opts::{ChangeUserOpts, Opts, OptsBuilder},
    session::InsertId,
};

impl Seat {
    /// Has the server forget a statement, if the link at hand holds it; the others forget it as
    /// their caches turn over.
    pub(crate) async fn close_statement(&mut self, statement: &Arc<Prepared>) -> Result<()> {
        let deadline = self.deadline();
        self.go_anywhere(deadline).await?;
        self.alone(Op::Close(statement), Plan::neutral(), deadline)
            .await
            .map(drop)
    }

    pub(crate) async fn ping(&mut self) -> Result<()> {
        let deadline = self.deadline();
        self.go_anywhere(deadline).await?;
        if let Done::Ok(ok) = self.alone(Op::Ping, Plan::neutral(), deadline).await? {
            self.ok = ok;
        }
        Ok(())
    }

    pub(crate) async fn statistics(&mut self) -> Result<String> {
        let deadline = self.deadline();
        self.go_anywhere(deadline).await?;
        match self
            .alone(Op::Statistics, Plan::neutral(), deadline)
            .await?
        {
            Done::Line(line) => Ok(line),
            _ => Ok(String::new()),
        }
    }

    pub(crate) async fn select_db(&mut self, schema: &str) -> Result<()> {
        let deadline = self.deadline();
        self.go_or_stay(deadline).await?;
        if let Done::Ok(ok) = self
            .alone(Op::InitDb(schema), Plan::command(), deadline)
            .await?
        {
            self.ok = ok;
        }
        Ok(())
    }

    /// The session as new: what was set is undone, the options' schema and init statements stand.
    pub(crate) async fn reset(&mut self) -> Result<()> {
        let mut running = Running::new(self);
        let reset = running.seat.reset_to_the_end().await;
        running.over = true;
        reset
    }

    async fn reset_to_the_end(&mut self) -> Result<()> {
        // What is lost of the session that ends is missed by nobody.
        if let Some(rare) = &mut self.rare {
            let owed = &mut rare.owed;
            owed.take_if(|e| matches!(e, Error::SessionLost { .. }));
        }
        self.forget_session();
        let deadline = self.deadline();
        self.come_back().await?;
        match self.party.opts.session().init.is_empty() {
            true => self.go_anywhere(deadline).await?,
            // They may do what keeps the handle there.
            false => self.go_or_stay(deadline).await?,
        }
        self.take("resetting the session", Need::Alone, deadline)
            .await?;
        if let Some(link) = &mut self.held {
            // Whoever's session it is: the next step begins it anew.
            link.session.disown();
        }
        let begun = self.begin(&Plan::neutral(), deadline).await;
        if let Some(link) = &mut self.held {
            // It left nothing that could be asked for.
            link.session.last = NOBODY;
        }
        let after = self.after(begun.as_ref().err()).await;
        self.last_link = 0;
        after?;
        begun
    }

    /// What the handle is to find next is a session as its options begin it.
    fn forget_session(&mut self) {
        self.schema = self.party.schema.clone();
        self.vars = None;
        self.user = None;
        self.insert_id = InsertId::Known(0);
        (self.last_link, self.gtid_link) = (0, 0);
        self.has_left_warnings = false;
    }

    /// The handle becomes another user's, with a session as new. On failure it stays who it was,
    /// with a session as new.
    pub(crate) async fn change_user(&mut self, change: ChangeUserOpts) -> Result<()> {
        let mut builder = OptsBuilder::from_opts(self.party.opts.clone());
        if let Some(user) = change.user() {
            builder = builder.user(user);
        }
        if let Some(pass) = change.pass() {
            builder = builder.pass(pass);
        }
        if let Some(db_name) = change.db_name() {
            builder = builder.db_name(db_name);
        }
        let opts = Opts::from(builder);
        self.come_back().await?;
        self.leave_link();
        let mux = self.party.mux.clone();
        // It went with the link.
        self.forget_session();
        // The new place is proven before the old one is left.
        let new = Seat::open(&mux, opts, self.face).await?;
        let (holds, timeout) = (self.holds, self.timeout);
        *self = new;
        self.holds = holds;
        self.timeout = timeout;
        Ok(())
    }
}
