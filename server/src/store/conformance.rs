//! What every store promises, as claims: a new store is done when it passes them all.
//!
//! [`conform!`] turns the claims into tests of one store. Each claim gets an empty store of its
//! own, opened with [`fixture::clock`], so that even times are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Labels, Namespace, PolicyId};
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Policy, Stored};
use fusebox_core::revision::Revision;

use super::fixture::{
    AUTHOR, all, append_all, by, conflict, delete_if, id, policy, put, put_if, revisions, run, set,
};
use super::{
    AppendError, Cause, Expect, Page, Proposal, Query, ReadError, Step, Store, VERSION_BYTES,
    Version, WATCH_EVENTS, WRITE_BYTES, WRITE_VERSIONS, Watch, WatchError,
};

/// One test a claim: `$open` returns a store and whatever must outlive it.
macro_rules! conform {
    ($open:expr) => {
        conform! { $open;
            writes {
                revisions_grow_by_one_without_gaps
                a_refused_write_takes_no_revision
                exactly_admits_only_that_revision
                absent_admits_only_a_new_name
                present_admits_only_an_existing_policy
                what_is_absent_cannot_be_deleted
                a_conflict_names_both_revisions
                a_write_sees_those_before_it_in_its_batch
                of_concurrent_creations_of_one_name_exactly_one_wins
                get_after_append_sees_it
                a_dropped_append_is_committed_all_the_same
                creation_time_stays_while_update_time_and_author_move
                delete_then_create_starts_anew
                a_write_too_large_for_the_disk_is_refused_and_named
                what_would_be_refused_is_told_without_a_write
            }
            sets {
                a_set_takes_one_revision_and_is_seen_whole
                a_set_is_refused_whole_over_one_conflict
                a_set_that_names_a_policy_twice_or_none_is_refused
                a_set_beyond_its_bounds_is_refused
                what_is_to_be_kept_is_only_held_to_its_expectation
                a_service_is_never_made_to_hold_more_than_it_can_be_sent
            }
            reads {
                namespaces_do_not_meet
                pages_come_in_order_without_gap_or_repetition
                a_page_goes_on_behind_a_policy_that_is_gone
                a_namespace_is_listed_alone
                a_page_holds_only_what_concerns_the_service_and_is_the_owners
                what_concerns_a_service_is_found_without_a_page
            }
            past {
                every_version_is_kept_the_newest_first
                a_deleted_policy_keeps_its_past_and_a_new_one_of_its_name_goes_on
                the_changes_of_late_come_with_what_they_replaced
            }
            overrides {
                an_override_is_named_by_its_write_and_stands_until_it_is_released
                what_is_not_in_force_cannot_be_released
                a_reset_is_told_and_leaves_everything_as_it_was
                no_more_overrides_are_in_force_than_may
                a_watch_begins_with_the_overrides_in_force_and_hears_what_becomes_of_them
                what_was_decided_about_breakers_is_among_the_changes
            }
            watches {
                a_watch_begins_with_everything
                a_watch_hears_each_change_once_and_in_order_from_concurrent_writers
                a_watch_begun_amid_writes_has_neither_gap_nor_overlap
                a_watch_that_lags_is_told_and_stays_ended
                a_watch_goes_on_from_any_revision_that_has_been
                closing_commits_what_is_queued_and_ends_reads_and_watches
                closing_twice_is_harmless
            }
        }
    };
    ($open:expr; $($room:ident { $($claim:ident)+ })+) => {$($(
        #[test]
        fn $claim() {
            let (store, _outlives) = $open;
            $crate::store::fixture::run($crate::store::conformance::$room::$claim(store));
        }
    )+)+};
}
pub(super) use conform;

pub(super) mod overrides;
pub(super) mod past;
pub(super) mod reads;
pub(super) mod sets;
pub(super) mod watches;
pub(super) mod writes;

type Subject = Arc<dyn Store>;

/// Names whose order as text, as bytes and as (namespace, name) could differ.
const AWKWARD: [&str; 10] = [
    "b/0", "b/a", "a/z", "a.b/m", "a-b/m", "ab/m", "a/a-b", "a/a.b", "a/a", "a0/x",
];

fn awkward_ids() -> Vec<PolicyId> {
    let sorted: BTreeSet<_> = AWKWARD.into_iter().map(id).collect();
    sorted.into_iter().collect()
}

fn ids(policies: &[Arc<Stored>]) -> Vec<PolicyId> {
    policies.iter().map(|s| s.policy.id().clone()).collect()
}

/// Whose version, its attempt timeout in milliseconds, the revision it replaced.
fn told(version: &Version) -> (PolicyId, Option<u64>, Option<u64>) {
    let attempt = |stored: &Arc<Stored>| stored.policy.rules().timeout.attempt.unwrap();
    let milliseconds = version.stored().map(attempt);
    let milliseconds = milliseconds.map(|attempt| u64::try_from(attempt.as_millis()).unwrap());
    (
        version.policy_id().unwrap().clone(),
        milliseconds,
        version.replaced.map(|revision| revision.0),
    )
}

fn concerning(store: &Subject, service: &str) -> Page {
    let query = Query {
        namespace: Some(&Namespace::default_namespace()),
        service: Some(service),
        ..Query::default()
    };
    store.list(&query).unwrap()
}
