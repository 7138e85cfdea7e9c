//! The roster by example, and against a model that remembers everything.

mod model;

use super::super::fixtures::{audience, snapshot};
use super::*;
use crate::glob::Glob;
use crate::key::{Epoch, InstanceId, PolicyId};
use crate::policy::rules::Rules;
use crate::policy::selector::Selector;
use crate::policy::{Draft, Policy};

const NEVER_SILENT: Instant = Instant::ORIGIN;

fn key(service: &str, instance: &str) -> InstanceKey {
    let Audience { namespace, service } = audience(service);
    InstanceKey {
        namespace,
        service,
        instance: InstanceId::new(instance).unwrap(),
        epoch: Epoch(1),
    }
}

fn member(service: &str, instance: &str) -> Member {
    Member {
        key: key(service, instance),
        labels: Labels::default(),
        schema: 1,
    }
}

fn refusal(policy: &str, revision: u64) -> Refusal {
    Refusal {
        policy: policy.into(),
        revision: Revision(revision),
        field: "rules.retry".into(),
        reason: "needs schema 9".into(),
    }
}

/// A roster at revision 5 that has told `checkout` of a snapshot at 5, with policy a of 3.
fn roster() -> Roster {
    let mut roster = Roster::new(Revision(5));
    roster.open(&audience("checkout"), &snapshot(5, &[("a", 3)]));
    roster
}

fn join(roster: &mut Roster, session: u64, service: &str, instance: &str) -> Arc<Pulse> {
    let member = member(service, instance);
    roster.join(SessionId(session), member, Instant::ORIGIN)
}

fn write(roster: &mut Roster, revision: u64, service: &str) {
    roster.advance(Revision(revision), [&audience(service)]);
}

/// Applied, pending, refused.
fn counts(roster: &Roster, revision: u64) -> (usize, usize, usize) {
    let standing = roster.standing(Revision(revision), &Scope::default(), NEVER_SILENT);
    (standing.applied, standing.pending, standing.refused)
}

#[test]
fn a_process_has_a_revision_once_it_acknowledged_its_audiences_last_change_by_then() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    assert_eq!(counts(&roster, 5), (0, 1, 0));
    roster.acked(SessionId(1), Revision(5), Vec::new());
    assert_eq!(counts(&roster, 5), (1, 0, 0));
    write(&mut roster, 6, "checkout");
    assert_eq!(
        (counts(&roster, 5), counts(&roster, 6)),
        ((1, 0, 0), (0, 1, 0))
    );
    roster.acked(SessionId(1), Revision(6), Vec::new());
    assert_eq!(counts(&roster, 6), (1, 0, 0));
}

#[test]
fn a_write_that_changes_nothing_for_an_audience_is_there_at_once() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    roster.acked(SessionId(1), Revision(5), Vec::new());
    write(&mut roster, 6, "search");
    assert_eq!(counts(&roster, 6), (1, 0, 0));
}

#[test]
fn nobody_has_a_revision_that_is_not_here_yet() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    roster.acked(SessionId(1), Revision(5), Vec::new());
    assert_eq!(counts(&roster, 6), (0, 1, 0));
}

#[test]
fn an_audience_told_afresh_wants_all_of_it_for_every_revision() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    roster.acked(SessionId(1), Revision(4), Vec::new());
    assert_eq!(counts(&roster, 1), (0, 1, 0));
    roster.acked(SessionId(1), Revision(5), Vec::new());
    assert_eq!(counts(&roster, 1), (1, 0, 0));
}

#[test]
fn what_went_by_unseen_is_wanted_as_a_whole() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    roster.acked(SessionId(1), Revision(5), Vec::new());
    roster.catch_up(Revision(9), [&audience("checkout")]);
    assert_eq!(
        (counts(&roster, 5), counts(&roster, 6)),
        ((1, 0, 0), (0, 1, 0))
    );
    roster.acked(SessionId(1), Revision(9), vec![refusal("a", 7)]);
    assert_eq!(
        (counts(&roster, 5), counts(&roster, 6)),
        ((1, 0, 0), (0, 0, 1))
    );
}

#[test]
fn a_process_refuses_a_revision_if_it_refuses_what_that_changed_and_no_other() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    write(&mut roster, 6, "checkout");
    roster.acked(SessionId(1), Revision(6), vec![refusal("b", 6)]);
    assert_eq!(counts(&roster, 6), (0, 0, 1));
    write(&mut roster, 7, "checkout");
    roster.acked(SessionId(1), Revision(7), vec![refusal("b", 6)]);
    assert_eq!(
        (counts(&roster, 6), counts(&roster, 7)),
        ((0, 0, 1), (1, 0, 0))
    );
}

#[test]
fn what_is_refused_of_a_set_told_afresh_counts_for_the_write_that_said_it() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    roster.acked(SessionId(1), Revision(5), vec![refusal("a", 3)]);
    assert_eq!(
        (counts(&roster, 2), counts(&roster, 3)),
        ((1, 0, 0), (0, 0, 1))
    );
    write(&mut roster, 6, "checkout");
    roster.acked(SessionId(1), Revision(6), vec![refusal("a", 3)]);
    assert_eq!(counts(&roster, 6), (1, 0, 0));
}

#[test]
fn for_revisions_older_than_what_is_kept_the_oldest_kept_is_wanted() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    roster.acked(SessionId(1), Revision(5), Vec::new());
    let last = 5 + MAX_CHANGES as u64;
    (6..=last).for_each(|revision| write(&mut roster, revision, "checkout"));
    let oldest = Revision(last - MAX_CHANGES as u64 + 1);
    assert_eq!(counts(&roster, 5), (0, 1, 0));
    roster.acked(SessionId(1), oldest, Vec::new());
    assert_eq!(
        (counts(&roster, 5), counts(&roster, last)),
        ((1, 0, 0), (0, 1, 0))
    );
}

#[test]
fn what_is_refused_of_a_revision_older_than_what_is_kept_is_not_forgotten_with_it() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    let last = 5 + 2 * MAX_CHANGES as u64;
    (6..=last).for_each(|revision| write(&mut roster, revision, "checkout"));
    roster.acked(SessionId(1), Revision(last), vec![refusal("b", 6)]);
    assert_eq!(counts(&roster, 6), (0, 0, 1));
    assert_eq!(counts(&roster, last), (1, 0, 0));
}

#[test]
fn of_two_sessions_of_a_process_the_newer_counts_whichever_comes_first() {
    for order in [[1, 2], [2, 1]] {
        let mut roster = roster();
        for session in order {
            join(&mut roster, session, "checkout", "i-1");
        }
        roster.acked(SessionId(1), Revision(5), Vec::new());
        assert_eq!(counts(&roster, 5), (0, 1, 0), "{order:?}");
        roster.leave(SessionId(1));
        roster.acked(SessionId(2), Revision(5), Vec::new());
        assert_eq!(counts(&roster, 5), (1, 0, 0), "{order:?}");
    }
}

#[test]
fn who_leaves_takes_nobody_else_along() {
    let mut roster = roster();
    for session in 1..=3 {
        join(&mut roster, session, "checkout", &format!("i-{session}"));
    }
    roster.acked(SessionId(3), Revision(5), Vec::new());
    roster.leave(SessionId(1));
    assert_eq!(counts(&roster, 5), (1, 1, 0));
    roster.acked(SessionId(2), Revision(5), Vec::new());
    roster.leave(SessionId(3));
    assert_eq!(counts(&roster, 5), (1, 0, 0));
}

#[test]
fn gone_is_who_left_without_it_while_somebody_watched_and_is_not_back() {
    let mut roster = roster();
    for session in 1..=3 {
        join(&mut roster, session, "checkout", &format!("i-{session}"));
    }
    roster.acked(SessionId(1), Revision(5), Vec::new());
    write(&mut roster, 6, "checkout");
    let all = Scope::default();
    let mark = roster.watch();
    roster.leave(SessionId(1));
    roster.leave(SessionId(2));
    assert_eq!(roster.gone(Revision(5), &all, mark), 1);
    assert_eq!(roster.gone(Revision(6), &all, mark), 2);
    let later = roster.watch();
    assert_eq!(roster.gone(Revision(6), &all, later), 0);
    join(&mut roster, 4, "checkout", "i-2");
    assert_eq!(roster.gone(Revision(6), &all, mark), 1);
    let elsewhere = Scope {
        service: Some(Service::new("search").unwrap()),
        ..Scope::default()
    };
    assert_eq!(roster.gone(Revision(6), &elsewhere, mark), 0);
    roster.unwatch();
    roster.unwatch();
    assert_eq!(roster.gone(Revision(6), &all, mark), 0, "forgotten");
}

#[test]
fn who_left_beyond_those_that_are_remembered_is_gone_for_those_who_watched_then_alone() {
    let mut roster = roster();
    let all = Scope::default();
    let mark = roster.watch();
    for session in 1..=MAX_DEPARTED as u64 + 3 {
        join(&mut roster, session, "checkout", &format!("i-{session}"));
        roster.leave(SessionId(session));
    }
    assert_eq!(roster.gone(Revision(5), &all, mark), MAX_DEPARTED + 3);
    let later = roster.watch();
    assert_eq!(roster.gone(Revision(5), &all, later), 0);
}

#[test]
fn an_audience_that_is_closed_is_forgotten_with_its_last_process() {
    let mut roster = roster();
    join(&mut roster, 1, "checkout", "i-1");
    roster.acked(SessionId(1), Revision(5), Vec::new());
    let mark = roster.watch();
    roster.close(&audience("checkout"));
    roster.leave(SessionId(1));
    assert_eq!(roster.gone(Revision(5), &Scope::default(), mark), 0);
    assert!(roster.crowds.is_empty() && roster.seats.is_empty() && roster.holders.is_empty());
}

#[test]
fn the_silent_are_counted_among_the_pending() {
    let mut roster = roster();
    let pulse = join(&mut roster, 1, "checkout", "i-1");
    join(&mut roster, 2, "checkout", "i-2");
    join(&mut roster, 3, "checkout", "i-3");
    roster.acked(SessionId(3), Revision(5), Vec::new());
    pulse.beat(Instant::from_nanos(7));
    let standing = roster.standing(Revision(5), &Scope::default(), Instant::from_nanos(7));
    assert_eq!((standing.pending, standing.stale), (2, 1));
}

#[test]
fn the_first_few_that_lack_it_are_named_those_that_refuse_before_those_that_wait() {
    let mut roster = roster();
    for session in 0..40 {
        join(&mut roster, session, "checkout", &format!("i-{session:02}"));
    }
    for session in 30..33 {
        roster.acked(SessionId(session), Revision(5), vec![refusal("a", 3)]);
    }
    let named = roster.examples(Revision(3), &Scope::default());
    let names: Vec<_> = named.iter().map(|one| one.key.instance.as_str()).collect();
    assert_eq!(names.len(), MAX_EXAMPLES);
    assert_eq!(names[..5], ["i-30", "i-31", "i-32", "i-00", "i-01"]);
    assert_eq!(named[0].refusals, [refusal("a", 3)]);
    assert_eq!((named[0].acked, named[3].acked), (Some(Revision(5)), None));
    let lacking = roster.lacking(Revision(3), &Scope::default());
    assert_eq!(lacking.len(), 40);
}

fn policy(service: &str, labels: &[(&str, &str)]) -> Policy {
    let labels = Labels::new(labels.iter().copied()).unwrap();
    let (service, operation) = (Glob::new(service).unwrap(), Glob::new("pay").unwrap());
    Policy::new(Draft {
        id: PolicyId::new("default", "p").unwrap(),
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector: Selector::new(Some(service), Some(operation), None, labels).unwrap(),
        rules: Rules::default(),
        clear: Vec::new(),
    })
    .unwrap()
}

/// Five of checkout, two of them canaries and one of those of schema 0; one of search.
fn fleet() -> Roster {
    let mut roster = roster();
    roster.open(&audience("search"), &snapshot(5, &[]));
    for session in 0..5 {
        let mut member = member("checkout", &format!("i-{session}"));
        if session < 2 {
            member.labels = Labels::new([("canary", "true")]).unwrap();
            member.schema = u32::from(session == 1);
        }
        roster.join(SessionId(session), member, Instant::ORIGIN);
    }
    join(&mut roster, 5, "search", "i-0");
    roster
}

fn reach(roster: &Roster, before: Option<&Policy>, after: Option<&Policy>) -> (usize, usize) {
    let write = [Rewrite { before, after }];
    let reach = roster.census(&write).reach(&write);
    (reach.instances, reach.too_old)
}

#[test]
fn a_write_reaches_whom_its_policy_selects_by_what_it_was_or_is() {
    let roster = fleet();
    let (all, canaries) = (policy("*", &[]), policy("checkout", &[("canary", "true")]));
    let nobody = policy("nobody", &[]);
    assert_eq!(reach(&roster, None, Some(&all)), (6, 1));
    assert_eq!(reach(&roster, None, Some(&canaries)), (2, 1));
    assert_eq!(reach(&roster, Some(&all), Some(&canaries)), (6, 1));
    assert_eq!(reach(&roster, Some(&canaries), None), (2, 0));
    assert_eq!(reach(&roster, Some(&canaries), Some(&nobody)), (2, 0));
    assert_eq!(reach(&roster, None, Some(&nobody)), (0, 0));
}

#[test]
fn a_set_reaches_each_process_once() {
    let roster = fleet();
    let (checkout, search) = (policy("checkout", &[]), policy("search", &[]));
    let rewrite = |after| Rewrite {
        before: None,
        after: Some(after),
    };
    let set = [rewrite(&checkout), rewrite(&checkout), rewrite(&search)];
    assert_eq!(roster.census(&set).reach(&set).instances, 6);
}

#[test]
fn a_write_in_another_namespace_reaches_nobody() {
    let mut draft = policy("*", &[]).into_draft();
    draft.id = PolicyId::new("other", "p").unwrap();
    assert_eq!(
        reach(&fleet(), None, Some(&Policy::new(draft).unwrap())),
        (0, 0)
    );
}

#[test]
fn who_has_left_is_reached_no_more() {
    let mut roster = fleet();
    roster.leave(SessionId(0));
    let canaries = policy("checkout", &[("canary", "true")]);
    assert_eq!(reach(&roster, None, Some(&canaries)), (1, 0));
}
