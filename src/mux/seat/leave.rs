//! Leaving a link: because its session can, because it is lost, or because whoever waited went away.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{EVERYBODY, PATIENCE, Seat};
use crate::{
    error::{Error, Result},
    link::{Kill, Link, NOBODY, Victim, offload},
    mux::{
        chores::{Chore, Leftover},
        group::no_reactor,
        left::Left,
        party::Party,
        wish::{Close, Got, Need},
    },
};

/// How long the server may take to end a statement.
const ENDING: Duration = Duration::from_secs(5);

/// Statements of many that are ended one by one; then it is the connection.
const KILLS: u32 = 3;

impl Seat {
    /// The link is gone. An error where session state went with it.
    pub(super) fn lose(&mut self) -> Result<()> {
        let Some(link) = self.held.take() else {
            return Ok(());
        };
        // A session that was being begun when its task left is nobody's yet.
        let theirs = link.session.owner != NOBODY;
        let lost = match self.kept && self.holds > 0 {
            _ if theirs && self.is_own() => link.session.lost().or(self.hold_lost()),
            held => link
                .session
                .pin()
                .filter(|_| theirs)
                .map(|reason| reason.to_string())
                .or((held).then(|| "a transaction".to_owned())),
        };
        self.kept = false;
        if link.session.has_set_user_variables() {
            // Those that were read back before may be old.
            self.user = None;
        }
        let server = link.name.clone();
        let account = &self.party.account;
        account.group.give_up(link, account, Close::Lost);
        match lost {
            Some(lost) => Err(Error::SessionLost { server, lost }),
            None => Ok(()),
        }
    }

    /// Ends what runs on the link and was given up: it gets a moment, and is then killed. Nobody
    /// else uses the link, so nobody else is hit.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let Some(link) = &mut self.held else {
            return Ok(());
        };
        let mut settled = settle_for(link, PATIENCE).await;
        // What is behind the first one may be quick, or as slow.
        let mut kills = 0;
        while let Err(Error::StatementTimeout(_)) = settled
            && kills <= KILLS
        {
            kills += 1;
            let victim = Victim::new(link, &self.party.account.opts);
            let what = match kills <= KILLS {
                true => Kill::Query,
                false => Kill::Connection,
            };
            let before = link.in_flight();
            let kill = move || victim.kill(what);
            // A task may go away meanwhile, and the statement may end by itself.
            link.set_doomed(true);
            if !matches!(offload(self.face, kill, drop).await, Ok(true)) {
                break;
            }
            link.set_doomed(false);
            let last = before == 1 || what == Kill::Connection;
            settled = settle_for(link, if last { ENDING } else { PATIENCE }).await;
            if settled.is_ok() {
                // Should the kill have come too late, this is what it hits.
                settled = link.query(b"DO 0", None, None).await.map(drop);
            }
        }
        link.deadline = None;
        match settled {
            Ok(()) => Ok(()),
            Err(_) => self.lose(),
        }
    }

    pub(super) fn give_up(&mut self) {
        self.kept = false;
        if let Some(link) = self.held.take() {
            let account = &self.party.account;
            account.group.give_up(link, account, Close::Lost);
        }
    }

    /// Lets go of the link unless the session can't leave it.
    pub(super) fn let_go(&mut self) {
        let (own, shared) = (self.is_own(), self.is_shared());
        let Some(link) = &self.held else {
            return;
        };
        let group = &self.party.account.group;
        let ours = link.session.owner == self.id || shared;
        if ours {
            self.schema = link.session.schema.clone();
        }
        if ours && own {
            self.vars = link.session.vars.clone();
            self.user = link.session.user.clone();
        }
        let pins = match own {
            true => link.session.stays().is_some() || link.session.names_unknown,
            false => link.session.pin().is_some(),
        };
        if self.holds > 0 || (pins && ours && !shared) {
            self.kept = true;
            let why = self.pin().map(|pin| pin.to_string());
            group.note(link.id, why.unwrap_or_default());
            return;
        }
        self.kept = false;
        let begin = self.party.opts.session();
        let share = match shared {
            true => link.session.owner == EVERYBODY,
            false => ours && link.session.is_shareable(),
        };
        if !shared {
            self.owns = !share && ours;
        }
        if let Some(link) = self.held.take() {
            group.release(link, &self.party.account, share.then_some(begin));
        }
    }

    /// Leaves the link that is held, if one is: its session ends in the background.
    pub(super) fn leave_link(&mut self) {
        if let Some(link) = self.held.take() {
            self.kept = false;
            if self.is_shared() && link.is_usable() {
                let Party { account, opts, .. } = &*self.party;
                return account.group.release(link, account, Some(opts.session()));
            }
            self.clean(link, true);
        }
    }

    fn clean(&mut self, link: Box<Link>, ends: bool) {
        let left = Arc::new(Left::new(link, std::mem::take(&mut self.streaming)));
        if !ends {
            self.rare.get_or_insert_default().left = Some(left.clone());
        }
        let account = self.party.account.clone();
        let group = account.group.clone();
        let leftover = Leftover {
            left,
            account,
            ends,
        };
        group.chores.add(&group, Chore::Clean(leftover));
    }

    /// Whoever waited for a statement here went away. What is left of it is done in the background,
    /// unless the link is the handle's for longer anyway.
    pub(super) fn abandon(&mut self) {
        self.defined();
        if self.kept || self.holds > 0 {
            return;
        }
        self.forget_what_was_left(true);
        if let Some(link) = self.held.take() {
            self.clean(link, false);
        }
    }

    /// There may be something to [`Self::come_back`] to.
    #[inline]
    pub(super) fn has_left(&self) -> bool {
        self.unanswered != 0 || self.rare.as_ref().is_some_and(|rare| rare.left.is_some())
    }

    /// Takes up what was left of a statement that was given up, if nobody has; else waits until it is over: what the
    /// handle does next comes behind it, as on a connection of its own.
    pub(super) async fn come_back(&mut self) -> Result<()> {
        if self.unanswered != 0 {
            let lane = Need::Exact(self.unanswered);
            let deadline = self.deadline();
            let got = self.acquire("what was given up", lane, deadline).await?;
            self.unanswered = 0;
            if let Got::Link(link) = got {
                let account = &self.party.account;
                account.group.put_back(link, account);
            }
        }
        let Some(left) = self.rare.as_ref().and_then(|rare| rare.left.clone()) else {
            return Ok(());
        };
        match left.take() {
            Some((link, streaming)) => {
                self.held = Some(link);
                self.streaming = streaming;
            }
            None => left.ended(self.face).await.map_err(no_reactor)?,
        }
        if let Some(rare) = &mut self.rare {
            rare.left = None;
        }
        Ok(())
    }
}

async fn settle_for(link: &mut Link, time: Duration) -> Result<()> {
    link.deadline = Some((Instant::now() + time, time));
    link.settle().await
}
