//! Amounts in cents, and as JSON writes them. Pure.

use serde_json::Value;

/// The most QuickBooks takes in one amount: 99,999,999,999.99.
pub(super) const MOST_CENTS: i64 = 9_999_999_999_999;

/// The amount in a JSON number, or in a string that holds one; `None` if it is neither or beyond [`MOST_CENTS`].
pub(super) fn cents(value: &Value) -> Option<i64> {
    let amount = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    let cents = (amount * 100.0).round();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "within MOST_CENTS, so exact"
    )]
    (cents.abs() <= MOST_CENTS as f64).then_some(cents as i64)
}

/// The amount as a JSON number.
pub(super) fn number(cents: i64) -> Value {
    Value::from(cents as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_amount_survives_its_way_through_json(cents_before in -MOST_CENTS..=MOST_CENTS) {
            let text = number(cents_before).to_string();
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(cents(&read), Some(cents_before));
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for value in [
            Value::Null,
            Value::from("ten"),
            Value::from("NaN"),
            Value::from(1e30),
        ] {
            assert_eq!(cents(&value), None, "{value}");
        }
        assert_eq!(cents(&Value::from("12.5")), Some(1_250));
    }
}
