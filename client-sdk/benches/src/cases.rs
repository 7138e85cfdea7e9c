//! The cases: who is called through, whether the call is ready at once or pending once, whether the
//! breaker is closed or open, and on how many threads.
//!
//! | a case's name | is a call that |
//! |---|---|
//! | `WHO-ready` | is answered at once |
//! | `WHO-pending` | is answered at the second poll |
//! | `WHO-refused` | is refused, because the breaker is open |
//! | `ours-MECHANISM` | is answered at once, with that mechanism beside the rest |
//! | any of them with `-two` | is made on two threads at once, through one operation |

mod backon;
mod failsafe;
mod floor;
mod governor;
mod mechanisms;
mod ours;
mod recloser;
mod tower_resilience;

use std::error::Error;

use fusebox::Fusebox;

use crate::harness::Case;

/// Whether a case is one of ours, by its name.
pub(crate) fn is_ours(id: &str) -> bool {
    id.starts_with("ours-")
}

/// In this order they take turns: what is compared stands close together.
pub(crate) fn all(fusebox: &Fusebox) -> Result<Vec<Case>, Box<dyn Error>> {
    let mut cases = backon::cases()?;
    cases.extend(governor::cases()?);
    cases.extend(recloser::cases()?);
    cases.extend(failsafe::cases()?);
    cases.extend(tower_resilience::cases()?);
    cases.extend(ours::cases(fusebox)?);
    cases.extend(floor::cases()?);
    cases.extend(mechanisms::cases(fusebox)?);
    Ok(cases)
}
