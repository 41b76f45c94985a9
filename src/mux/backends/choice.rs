//! Which of several servers a statement goes to, by what is known of them. It does no I/O.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{gtids::Gtids, member::Member};
use crate::opts::Balance;

/// Where a statement may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    Primary,
    Replica,
    Any,
}

/// What a statement needs of where it goes, beside what it wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs<'a> {
    /// When the handle wrote last, where its reads have to see that.
    pub wrote_at: Option<Instant>,
    /// And where.
    pub wrote_on: u32,
    /// The GTIDs of all that it wrote were told.
    pub told: bool,
    pub gtids: &'a Gtids,
    /// How far behind a replica may be.
    pub max_lag: Option<Duration>,
    pub balance: Balance,
    /// Another one, if there is one: it was lost there.
    pub not: Option<u32>,
}

impl Needs<'_> {
    pub(crate) const NONE: Needs<'static> = Needs {
        wrote_at: None,
        wrote_on: 0,
        told: true,
        gtids: &Gtids::NONE,
        max_lag: None,
        balance: Balance::PowerOfTwo,
        not: None,
    };
}

/// A server that was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub member: Arc<Member>,
    pub is_primary: bool,
    pub lacks: Lacks,
}

/// What it has not, perhaps, of what is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacks {
    Nothing,
    /// It may have it in a moment; else the primary has.
    Wait,
    /// It is the primary, but what is needed was written to another node of its cluster: it has that as
    /// soon as it has all that is on its way.
    Sync,
}

/// The one that everything else than reads goes to.
pub(super) fn primary(all: &[Arc<Member>]) -> Option<&Arc<Member>> {
    all.iter().find(|member| member.takes_writes())
}

/// The one to send to, if one can be used now.
pub(super) fn choose(all: &[Arc<Member>], wants: Wants, needs: &Needs<'_>) -> Option<Choice> {
    let primary = primary(all);
    if wants != Wants::Primary
        && let Some(choice) = choose_for_reading(all, primary, wants, needs)
    {
        return Some(choice);
    }
    if primary.is_none() && needs.not.is_some() {
        return choose(
            all,
            wants,
            &Needs {
                not: None,
                ..*needs
            },
        );
    }
    // What the primary has not, nobody has; but nodes of a cluster apply what another has committed.
    primary.map(|primary| Choice {
        member: primary.clone(),
        is_primary: true,
        lacks: match primary.is_of_cluster() && !primary.has(needs) {
            true => Lacks::Sync,
            false => Lacks::Nothing,
        },
    })
}

fn choose_for_reading(
    all: &[Arc<Member>],
    primary: Option<&Arc<Member>>,
    wants: Wants,
    needs: &Needs<'_>,
) -> Option<Choice> {
    let is_primary = |member: &Arc<Member>| primary.is_some_and(|one| Arc::ptr_eq(one, member));
    let may_serve = |member: &&Arc<Member>| match is_primary(member) {
        true => wants == Wants::Any,
        false => member.is_for_reads() && member.is_within(needs.max_lag),
    };
    let is_other = |member: &&Arc<Member>| needs.not != Some(member.id);
    let candidates = all.iter().filter(is_other).filter(may_serve);
    let has =
        |member: &&Arc<Member>| is_primary(member) && !member.is_of_cluster() || member.has(needs);
    let can_wait = |member: &&Arc<Member>| member.can_wait(needs);
    let found = match best(candidates.clone().filter(has), needs.balance) {
        Some(best) => Some((best, Lacks::Nothing)),
        None => {
            best(candidates.clone().filter(can_wait), needs.balance).map(|best| (best, Lacks::Wait))
        }
    };
    if let Some((member, lacks)) = found {
        return Some(Choice {
            member: member.clone(),
            is_primary: is_primary(member),
            lacks,
        });
    }
    // What is not told is known when they have been asked, and the primary before them.
    let mut late = candidates.peekable();
    if let (Some(primary), Some(_)) = (primary, late.peek()) {
        primary.ask_soon();
        late.for_each(|member| member.ask_soon());
    }
    None
}

fn best<'a>(
    mut all: impl Iterator<Item = &'a Arc<Member>> + Clone,
    balance: Balance,
) -> Option<&'a Arc<Member>> {
    match balance {
        Balance::PowerOfTwo => better_of_two(all),
        Balance::ShortestQueue => all.min_by_key(|member| member.queue()),
        Balance::InOrder => all.next(),
    }
}

/// Of two that are taken at random the one that costs less: who always took the best would have all go
/// there at once.
fn better_of_two<'a>(
    mut all: impl Iterator<Item = &'a Arc<Member>> + Clone,
) -> Option<&'a Arc<Member>> {
    let count = all.clone().count();
    if count < 2 {
        return all.next();
    }
    let first = fastrand::usize(..count);
    let second = (first + fastrand::usize(1..count)) % count;
    // They may be fewer by now.
    let two = [all.clone().nth(first), all.nth(second)];
    two.into_iter().flatten().min_by_key(|member| member.cost())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::DriverError,
        mux::{account::Account, backends::history::History, group::Group, limits::Limits},
        opts::{Opts, OptsBuilder},
    };

    fn account(name: &str) -> Arc<Account> {
        let opts = Opts::from(OptsBuilder::new().ip_or_hostname(Some(name)));
        let group = Group::new(opts.target().clone(), &Arc::new(Limits::default()));
        group.enter(&opts).unwrap().expect("nobody forgets it")
    }

    /// So many of them; nobody was asked.
    fn servers(count: u32) -> Vec<Arc<Member>> {
        (1..=count)
            .map(|id| Arc::new(Member::new(id, account(&format!("h{id}")), 1)))
            .collect()
    }

    /// As if it had been asked: it takes writes, or it doesn't.
    fn primary_and_replicas(count: u32) -> Vec<Arc<Member>> {
        let all = servers(count);
        for member in &all {
            member.found(true, member.id == 1, false);
        }
        all
    }

    fn chosen(all: &[Arc<Member>], wants: Wants, needs: &Needs<'_>) -> Option<(u32, Lacks)> {
        let choice = choose(all, wants, needs)?;
        let is_primary = primary(all).is_some_and(|primary| primary.id == choice.member.id);
        assert_eq!(choice.is_primary, is_primary);
        Some((choice.member.id, choice.lacks))
    }

    /// All that are chosen in many tries.
    fn all_chosen(all: &[Arc<Member>], wants: Wants, needs: &Needs<'_>) -> Vec<u32> {
        let mut taken: Vec<_> = (0..200)
            .filter_map(|_| chosen(all, wants, needs))
            .map(|(id, _)| id)
            .collect();
        taken.sort();
        taken.dedup();
        taken
    }

    const ALL: [Wants; 3] = [Wants::Primary, Wants::Replica, Wants::Any];

    #[test]
    fn reads_go_to_who_only_reads_and_all_else_to_who_writes() {
        let all = servers(3);
        for wants in ALL {
            assert_eq!(chosen(&all, wants, &Needs::NONE), None);
        }
        // The only one is the one for all.
        all[1].found(true, true, false);
        for wants in ALL {
            let it = Some((2, Lacks::Nothing));
            assert_eq!(chosen(&all, wants, &Needs::NONE), it);
        }
        all[2].found(true, false, false);
        assert_eq!(all_chosen(&all, Wants::Primary, &Needs::NONE), [2]);
        assert_eq!(all_chosen(&all, Wants::Replica, &Needs::NONE), [3]);
        assert_eq!(all_chosen(&all, Wants::Any, &Needs::NONE), [2, 3]);
        // It has moved, as was found when a write was refused.
        all[1].takes_no_writes();
        assert_eq!(chosen(&all, Wants::Primary, &Needs::NONE), None);
        all[0].found(true, true, false);
        assert_eq!(all_chosen(&all, Wants::Primary, &Needs::NONE), [1]);
        assert_eq!(all_chosen(&all, Wants::Any, &Needs::NONE), [1, 2, 3]);
        // Nobody knows what a second primary has.
        all[1].found(true, true, false);
        assert_eq!(all_chosen(&all, Wants::Any, &Needs::NONE), [1, 3]);
    }

    #[test]
    fn who_is_being_drained_gets_nothing_new() {
        let all = primary_and_replicas(3);
        all[1].set_draining(true);
        assert_eq!(all_chosen(&all, Wants::Replica, &Needs::NONE), [3]);
        all[2].set_draining(true);
        assert_eq!(all_chosen(&all, Wants::Replica, &Needs::NONE), [1]);
        all[0].set_draining(true);
        assert_eq!(chosen(&all, Wants::Primary, &Needs::NONE), None);
    }

    #[test]
    fn who_lost_it_is_asked_again_where_there_is_nobody_else() {
        let all = primary_and_replicas(3);
        let not = |id| Needs {
            not: Some(id),
            ..Needs::NONE
        };
        assert_eq!(all_chosen(&all, Wants::Replica, &not(2)), [3]);
        assert_eq!(all_chosen(&all, Wants::Any, &not(1)), [2, 3]);
        assert_eq!(all_chosen(&all, Wants::Primary, &not(1)), [1]);
        all[2].set_draining(true);
        assert_eq!(all_chosen(&all, Wants::Replica, &not(2)), [1]);
        all[0].set_draining(true);
        assert_eq!(all_chosen(&all, Wants::Replica, &not(2)), [2]);
    }

    #[test]
    fn who_has_not_what_is_needed_is_waited_for() {
        let all = primary_and_replicas(3);
        let gtids = Gtids::reported("0-1-7");
        let needs = Needs {
            wrote_at: Some(Instant::now()),
            wrote_on: 1,
            gtids: &gtids,
            ..Needs::NONE
        };
        let waits = chosen(&all, Wants::Replica, &needs);
        assert!(matches!(waits, Some((2 | 3, Lacks::Wait))), "{waits:?}");
        // Among all there is one that has it for certain.
        let has = Some((1, Lacks::Nothing));
        assert_eq!(chosen(&all, Wants::Any, &needs), has);
        all[2].has_reached(&Gtids::reported("0-1-9"));
        assert_eq!(all_chosen(&all, Wants::Replica, &needs), [3]);
        all[2].suspect(Some(&DriverError::MuxShutDown.into()));
        let waits = chosen(&all, Wants::Replica, &needs);
        assert_eq!(waits, Some((2, Lacks::Wait)));
        all[1].found(false, false, false);
        // The primary is better than none.
        assert_eq!(chosen(&all, Wants::Replica, &needs), has);
    }

    #[test]
    fn what_no_gtid_was_told_of_is_known_from_where_the_primary_was() {
        let all = primary_and_replicas(2);
        let wrote_at = Instant::now();
        let needs = Needs {
            wrote_at: Some(wrote_at),
            wrote_on: 1,
            told: false,
            ..Needs::NONE
        };
        let mut history = History::default();
        let position = Gtids::reported("0-1-7");
        all[1].has_reached(&position);
        let before = wrote_at.checked_sub(Duration::from_millis(1)).unwrap();
        history.push(1, before, position.clone());
        all[1].compare(&history);
        assert_eq!(all_chosen(&all, Wants::Replica, &needs), [1]);
        history.push(1, Instant::now(), position);
        all[1].compare(&history);
        assert_eq!(all_chosen(&all, Wants::Replica, &needs), [2]);
    }

    #[test]
    fn a_node_of_a_cluster_has_what_was_written_there_or_is_seen_to_have_the_rest() {
        let all = servers(3);
        for member in &all {
            member.found(true, true, true);
        }
        assert_eq!(all_chosen(&all, Wants::Replica, &Needs::NONE), [2, 3]);
        let needs = Needs {
            wrote_at: Some(Instant::now()),
            wrote_on: 1,
            told: false,
            ..Needs::NONE
        };
        assert_eq!(all_chosen(&all, Wants::Any, &needs), [1]);
        let mut history = History::default();
        let position = Gtids::executed("e6a3f2c1:1-7");
        all[2].has_reached(&position);
        history.push(1, Instant::now(), position);
        all.iter().for_each(|member| member.compare(&history));
        assert_eq!(all_chosen(&all, Wants::Replica, &needs), [3]);
        // The next primary may not have applied it yet.
        all[0].found(false, true, true);
        let next = chosen(&all, Wants::Primary, &needs);
        assert_eq!(next, Some((2, Lacks::Sync)));
    }

    #[test]
    fn who_is_too_far_behind_is_not_read_from() {
        let all = primary_and_replicas(3);
        let needs = Needs {
            max_lag: Some(Duration::from_secs(5)),
            ..Needs::NONE
        };
        // Nothing is known of them.
        assert_eq!(all_chosen(&all, Wants::Replica, &needs), [1]);
        let mut history = History::default();
        let begin = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        history.push(1, begin, Gtids::reported("0-1-1"));
        history.push(1, begin + Duration::from_secs(1), Gtids::reported("0-1-2"));
        all[1].has_reached(&Gtids::reported("0-1-1"));
        all[2].has_reached(&Gtids::reported("0-1-2"));
        all.iter().for_each(|member| member.compare(&history));
        // The primary has not said for long where it is.
        assert_eq!(all_chosen(&all, Wants::Replica, &needs), [1]);
        history.push(1, Instant::now(), Gtids::reported("0-1-2"));
        all.iter().for_each(|member| member.compare(&history));
        assert_eq!(all_chosen(&all, Wants::Replica, &needs), [3]);
        assert_eq!(all_chosen(&all, Wants::Replica, &Needs::NONE), [2, 3]);
    }

    #[test]
    fn the_busier_of_two_is_spared() {
        let account = account("h");
        let [light, other, heavy] = [1, 1, 3].map(|weight| Member::new(1, account.clone(), weight));
        assert!(heavy.cost() < light.cost());
        assert_eq!(light.cost(), other.cost());
    }

    #[test]
    fn they_are_taken_in_order_where_that_is_asked_for() {
        let all = primary_and_replicas(4);
        for balance in [Balance::InOrder, Balance::ShortestQueue] {
            let needs = Needs {
                balance,
                ..Needs::NONE
            };
            assert_eq!(all_chosen(&all, Wants::Replica, &needs), [2]);
        }
        all[1].found(false, false, false);
        let needs = Needs {
            balance: Balance::InOrder,
            ..Needs::NONE
        };
        assert_eq!(all_chosen(&all, Wants::Replica, &needs), [3]);
    }
}
