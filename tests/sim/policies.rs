//! Policies as operators might write them: for one service, for many, for some of its instances, of
//! this schema and the one before.

use std::time::Duration;

use fusebox_core::glob::Glob;
use fusebox_core::key::{Labels, Namespace, PolicyId, Service};
use fusebox_core::policy::rules::{BulkheadLimit, Jitter, Rules};
use fusebox_core::policy::selector::Selector;
use fusebox_core::policy::{Draft, Policy};
use fusebox_core::sync::Audience;
use fusebox_tests::dice::Dice;

const NAMESPACES: [&str; 2] = ["default", "blue"];
const SERVICES: [&str; 4] = ["cart", "checkout", "search", "shipping"];
const GLOBS: [&str; 5] = ["*", "c*", "s*", "*ing", "*a*"];
const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

/// Two tenants with a few services each; if `crowded`, one of those alone.
pub(crate) fn audience(dice: &mut Dice, crowded: bool) -> Audience {
    let (namespaces, services) = if crowded {
        (&NAMESPACES[..1], &SERVICES[..1])
    } else {
        (&NAMESPACES[..], &SERVICES[..])
    };
    Audience {
        namespace: Namespace::new(one_of(dice, namespaces)).expect("a legal namespace"),
        service: Service::new(one_of(dice, services)).expect("a legal name"),
    }
}

pub(crate) fn labels(dice: &mut Dice) -> Labels {
    let zone = one_of(dice, &["eu", "us"]);
    Labels::new([("zone", zone)]).expect("a legal label")
}

/// A few names; if `crowded`, two.
pub(crate) fn id(dice: &mut Dice, crowded: bool) -> PolicyId {
    let (namespaces, names) = if crowded {
        (&NAMESPACES[..1], &NAMES[..2])
    } else {
        (&NAMESPACES[..], &NAMES[..])
    };
    PolicyId::new(one_of(dice, namespaces), one_of(dice, names)).expect("legal names")
}

/// A policy of that name, which may say what only `schema` has words for.
pub(crate) fn policy(dice: &mut Dice, id: PolicyId, schema: u32) -> Policy {
    let service = match dice.pick(0..4) {
        0 => None,
        1 => Some(one_of(dice, &GLOBS)),
        _ => Some(one_of(dice, &SERVICES)),
    };
    let glob = |text| Glob::new(text).expect("a legal glob");
    let wanted = if dice.one_in(4) {
        labels(dice)
    } else {
        Labels::default()
    };
    let selector = Selector::new(service.map(glob), Some(glob("*")), None, wanted);
    let draft = Draft {
        id,
        owner: String::new(),
        description: String::new(),
        priority: 0,
        selector: selector.expect("a condition"),
        rules: rules(dice, schema),
        clear: Vec::new(),
    };
    Policy::new(draft).expect("a legal policy")
}

fn rules(dice: &mut Dice, schema: u32) -> Rules {
    let mut rules = Rules::default();
    rules.timeout.attempt = Some(Duration::from_millis(dice.pick(1..10_000)));
    if dice.one_in(2) {
        rules.retry.max_attempts = Some(3);
    }
    if schema > 1 {
        rules.retry.jitter = Some(Jitter::Equal);
        if dice.one_in(2) {
            rules.bulkhead.limit = Some(BulkheadLimit {
                max_concurrent: 7,
                max_queue: 0,
                max_wait: Duration::ZERO,
            });
        }
    }
    rules
}

fn one_of<'a>(dice: &mut Dice, of: &[&'a str]) -> &'a str {
    of[dice.index(of.len())]
}
