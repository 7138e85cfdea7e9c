//! What operators decide about breakers: whom an override or a reset concerns.
//!
//! An override is state: it holds for whoever connects later, too, until it is cleared or its time is
//! over. A reset is an event. Both name their breakers by a [`BreakerTarget`], which server and
//! process match by the same code.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::glob::Glob;
use crate::key::{InstanceId, Labels, Namespace, OperationName};
use crate::outcome::Forced;
use crate::revision::Revision;

/// Longest reason, in bytes.
pub const MAX_REASON: usize = 1024;
/// The shortest time an override may hold.
pub const MIN_TTL: Duration = Duration::from_secs(1);
/// The longest.
pub const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most overrides in force at once, in a store.
pub const MAX_STANDING: usize = 256;

/// Which breakers; all conditions that are set must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerTarget {
    /// The tenant.
    pub namespace: Namespace,
    /// The service's name.
    pub service: Option<Glob>,
    /// The operation's name.
    pub operation: Option<Glob>,
    /// The process's id.
    pub instance: Option<InstanceId>,
    /// What the process must carry.
    pub labels: Labels,
}

impl BreakerTarget {
    /// Every breaker of a namespace.
    pub fn everything(namespace: Namespace) -> Self {
        Self {
            namespace,
            service: None,
            operation: None,
            instance: None,
            labels: Labels::default(),
        }
    }

    /// Whether it leaves out no breaker of its namespace, whatever it is called.
    pub fn is_everything(&self) -> bool {
        let any = |glob: &Option<Glob>| {
            let glob = glob.as_ref();
            glob.is_none_or(|glob| glob.as_str().bytes().all(|byte| byte == b'*'))
        };
        any(&self.service)
            && any(&self.operation)
            && self.instance.is_none()
            && self.labels.is_empty()
    }

    /// Whether it can concern any process of `service`.
    pub fn concerns(&self, namespace: &Namespace, service: &str) -> bool {
        let fits = |glob: &Glob| glob.matches(service);
        self.namespace == *namespace && self.service.as_ref().is_none_or(fits)
    }

    /// Whether it concerns any operation of this process of a service that it
    /// [concerns](Self::concerns).
    pub fn reaches(&self, instance: &InstanceId, labels: &Labels) -> bool {
        let named = self.instance.as_ref();
        named.is_none_or(|named| named == instance) && labels.contain(&self.labels)
    }

    /// Whether it concerns this operation of a process that it [reaches](Self::reaches).
    pub fn takes(&self, operation: &OperationName) -> bool {
        let fits = |glob: &Glob| glob.matches(operation.as_str());
        self.operation.as_ref().is_none_or(fits)
    }
}

impl fmt::Display for BreakerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {}", self.namespace)?;
        if let Some(service) = &self.service {
            write!(f, ", service {service}")?;
        }
        if let Some(operation) = &self.operation {
            write!(f, ", operation {operation}")?;
        }
        if let Some(instance) = &self.instance {
            write!(f, ", instance {instance}")?;
        }
        for (key, value) in self.labels.iter() {
            write!(f, ", label {key}={value}")?;
        }
        Ok(())
    }
}

/// An override as an operator wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideDraft {
    /// Whose breakers.
    pub target: BreakerTarget,
    /// What to make of them.
    pub forced: Forced,
    /// For how long, from [`MIN_TTL`] to [`MAX_TTL`].
    pub ttl: Duration,
    /// Why; at most [`MAX_REASON`] bytes.
    pub reason: String,
}

/// An override as a store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerOverride {
    /// Which one: the revision of the write that set it. Of two the higher is the newer.
    pub id: Revision,
    /// Whose breakers.
    pub target: BreakerTarget,
    /// What it makes of them.
    pub forced: Forced,
    /// Why, as its author said.
    pub reason: String,
    /// Who set it, as far as the server could tell.
    pub author: String,
    /// When it was set.
    pub create_time: SystemTime,
    /// For how long it holds.
    pub ttl: Duration,
}

impl BreakerOverride {
    /// What an override is called where policies are called by name. No policy has such a name.
    pub fn name(id: Revision) -> String {
        format!("override:{id}")
    }

    /// When it ends.
    pub fn expire_time(&self) -> SystemTime {
        self.create_time + self.ttl
    }

    /// How much of its time is left at `now`; never more than it was given.
    pub fn time_left(&self, now: SystemTime) -> Duration {
        let left = self.expire_time().duration_since(now);
        left.unwrap_or_default().min(self.ttl)
    }
}

/// Breakers were reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerReset {
    /// The revision of the write that said so.
    pub id: Revision,
    /// Whose breakers.
    pub target: BreakerTarget,
    /// Why, as its author said.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> Option<Glob> {
        Some(Glob::new(pattern).unwrap())
    }

    fn everything() -> BreakerTarget {
        BreakerTarget::everything(Namespace::default_namespace())
    }

    #[test]
    fn a_target_of_stars_alone_is_everything() {
        assert!(everything().is_everything());
        let stars = BreakerTarget {
            service: glob("*"),
            operation: glob("**"),
            ..everything()
        };
        assert!(stars.is_everything());
        let one = BreakerTarget {
            operation: glob("p*"),
            ..everything()
        };
        assert!(!one.is_everything());
    }

    #[test]
    fn no_policy_can_have_an_overrides_name() {
        let name = BreakerOverride::name(Revision(17));
        assert_eq!(name, "override:17");
        assert!(crate::key::PolicyId::new("default", &name).is_err());
    }

    #[test]
    fn every_condition_that_is_set_must_hold() {
        let target = BreakerTarget {
            service: glob("check*"),
            operation: glob("pay"),
            instance: Some(InstanceId::new("a").unwrap()),
            labels: Labels::new([("zone", "eu")]).unwrap(),
            ..everything()
        };
        let (eu, us) = (
            Labels::new([("zone", "eu"), ("tier", "1")]).unwrap(),
            Labels::new([("zone", "us")]).unwrap(),
        );
        let id = |id: &str| InstanceId::new(id).unwrap();
        let other = Namespace::new("other").unwrap();
        assert!(target.concerns(&target.namespace, "checkout"));
        assert!(!target.concerns(&target.namespace, "search"));
        assert!(!target.concerns(&other, "checkout"));
        assert!(target.reaches(&id("a"), &eu));
        assert!(!target.reaches(&id("b"), &eu));
        assert!(!target.reaches(&id("a"), &us));
        assert!(target.takes(&OperationName::new("pay").unwrap()));
        assert!(!target.takes(&OperationName::new("pays").unwrap()));
    }

    #[test]
    fn the_time_left_is_never_more_than_was_given_however_the_clock_steps() {
        let set = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let known = BreakerOverride {
            id: Revision(7),
            target: everything(),
            forced: Forced::Open,
            reason: "tried".to_owned(),
            author: "somebody".to_owned(),
            create_time: set,
            ttl: Duration::from_secs(60),
        };
        let at = |seconds| known.time_left(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), Duration::from_secs(60));
        assert_eq!(at(1020), Duration::from_secs(40));
        assert_eq!(at(2000), Duration::ZERO);
    }
}
