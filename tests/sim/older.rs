//! What an older build's decoder makes of a message: it has no words for newer fields, and passes
//! over them.

use fusebox_core::policy::Policy;
use fusebox_core::policy::field::Field;
use fusebox_core::policy::rules::Rules;
use fusebox_proto::convert::policy::{policy_from_wire, policy_to_wire};
use fusebox_proto::v1;

/// Leaves of `wire` what a build that knows no more than `schema` decodes.
pub(crate) fn forget(wire: &mut v1::Policy, schema: u32) {
    if wire.schema <= schema {
        return;
    }
    let Ok(policy) = policy_from_wire(wire) else {
        return;
    };
    let mut draft = policy.into_draft();
    let rules = draft.rules.clone();
    for field in Field::ALL {
        if field.schema(&rules) > schema {
            field.copy(&Rules::default(), &mut draft.rules);
        }
    }
    let left = Policy::new(draft).map(|policy| policy_to_wire(&policy));
    wire.rules = left.ok().and_then(|left| left.rules);
}
