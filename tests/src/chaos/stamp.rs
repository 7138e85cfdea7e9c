//! Policies that show which write they come from, in so many fields that a half one cannot pass.

use fusebox_proto::v1;

/// Of the description's filling, so that some writes span several pages of a file.
const FILLINGS: u64 = 8;
const FILLING_BYTES: u64 = 450;

/// The policy `name` as the write `stamp` makes it.
///
/// # Panics
/// If there were more than two thousand million writes.
pub fn policy(name: &str, stamp: u64) -> v1::Policy {
    let number = i32::try_from(stamp).expect("fewer writes than that");
    let filling = usize::try_from(stamp % FILLINGS * FILLING_BYTES).expect("a few kilobytes");
    let duration = |millis: i32| prost_types::Duration {
        seconds: i64::from(millis / 1000),
        nanos: millis % 1000 * 1_000_000,
    };
    // A day at most, and in milliseconds; unlike other numbers for as long as a test may run.
    let attempt = number % 80_000_000 + 1;
    v1::Policy {
        name: name.to_owned(),
        owner: format!("writer of {stamp}"),
        description: format!("{stamp}:{}", "x".repeat(filling)),
        priority: number,
        selector: Some(v1::Selector {
            service: "checkout".into(),
            operation: format!("{name}.*"),
            ..v1::Selector::default()
        }),
        rules: Some(v1::Rules {
            timeout: Some(v1::Timeout {
                attempt: Some(duration(attempt)),
                ..v1::Timeout::default()
            }),
            retry: Some(v1::Retry {
                max_attempts: Some(number.unsigned_abs() % 1000 + 1),
                ..v1::Retry::default()
            }),
            ..v1::Rules::default()
        }),
        ..v1::Policy::default()
    }
}

/// The write that `found` comes from, if it is whole.
pub fn read(found: &v1::Policy) -> Result<u64, String> {
    let stamp = u64::try_from(found.priority).map_err(|_| format!("no stamp: {found:?}"))?;
    let said = v1::Policy {
        namespace: String::new(),
        revision: 0,
        etag: String::new(),
        create_time: None,
        update_time: None,
        updated_by: String::new(),
        schema: 0,
        ..found.clone()
    };
    let whole = policy(&found.name, stamp);
    if said == whole {
        Ok(stamp)
    } else {
        Err(format!("half of a write: {found:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_tells_its_write_whatever_the_server_adds() {
        let stored = v1::Policy {
            namespace: "default".into(),
            revision: 9,
            etag: "9".into(),
            schema: 1,
            ..policy("a", 77)
        };
        assert_eq!(read(&stored), Ok(77));
    }

    #[test]
    fn parts_of_two_writes_are_no_write() {
        let mixed = v1::Policy {
            rules: policy("a", 78).rules,
            ..policy("a", 77)
        };
        assert!(read(&mixed).is_err());
    }
}
