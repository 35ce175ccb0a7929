//! Limits on rates, as the node's file and flags take them: more than nothing.

use samara_protocol::units::{ByteRate, UnitError};

/// What stands in the way of taking a text for a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// It is no rate.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// A transfer under it would stand still until somebody gives up.
    #[error("a rate of 0 moves nothing; leave it out for no limit")]
    Nothing,
}

/// Reads a limit. What is less than a byte a second is a rate of 0.
///
/// # Errors
/// When it is no rate, or a rate of 0.
pub fn limit(text: &str) -> Result<ByteRate, LimitError> {
    match text.parse()? {
        ByteRate(0) => Err(LimitError::Nothing),
        rate => Ok(rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_moves_something() {
        assert_eq!(limit("50mbit"), Ok(ByteRate(6_250_000)));
        for nothing in ["0", "0mbit", "0.0KiB/s", "7bit"] {
            assert_eq!(limit(nothing), Err(LimitError::Nothing), "{nothing}");
        }
        let bare = limit("50").expect_err("no unit").to_string();
        assert!(bare.contains("50mbit"), "{bare}");
    }
}
