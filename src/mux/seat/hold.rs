//! Keeping the link for longer than its session needs it: an API's transaction, a lease.

use super::{Seat, UnderHold, alone::Running, plan::Plan};
use crate::{
    error::{Error, Result},
    mux::op::Op,
};

impl Seat {
    /// Keeps the link from here on, until as many [`Self::release`]. `reads_only`: for a transaction that
    /// does.
    pub(crate) async fn hold(&mut self, reads_only: bool) -> Result<()> {
        if self.holds == 0 && self.under_hold != UnderHold::Open {
            self.under_hold = match self.held {
                None => UnderHold::Nothing,
                Some(_) => UnderHold::Session,
            };
        }
        let deadline = self.deadline();
        self.come_back().await?;
        self.go_to_hold(reads_only, deadline).await?;
        let mut running = Running::new(self);
        running.seat.holds = running.seat.holds.saturating_add(1);
        running.holds = true;
        let held = running
            .seat
            .alone_to_the_end(Op::Hold, Plan::neutral(), deadline)
            .await;
        running.over = true;
        if held.is_err() {
            running.seat.release();
        }
        held.map(drop)
    }

    /// The handle's next statement fails with this.
    pub(crate) fn owe(&mut self, e: Error) {
        self.rare.get_or_insert_default().owed = Some(e);
    }

    /// Rolls back what is open, before anything else runs. Where the session is nothing but a
    /// transaction, its link is left and that is done in the background.
    pub(crate) fn owe_rollback(&mut self) {
        if self.under_hold == UnderHold::Nothing && self.holds <= 1 {
            self.leave_link();
        } else if self.held.is_some() {
            self.under_hold = UnderHold::Open;
        }
    }

    pub(crate) fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
        if self.holds > 0 {
            return;
        }
        // Nothing runs: what the link's session is, is known.
        if let Some(link) = &self.held
            && link.is_usable()
            && !self.streaming
        {
            self.let_go();
        }
    }

    /// The same, because the user wishes it.
    pub(crate) async fn lease(&mut self) -> Result<()> {
        self.hold(false).await?;
        self.leases = self.leases.saturating_add(1);
        Ok(())
    }

    pub(crate) fn end_lease(&mut self) {
        self.leases = self.leases.saturating_sub(1);
        self.release();
    }
}
