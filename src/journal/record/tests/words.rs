//! What is written into journals, told to people, and kept out of logs.

use super::*;

#[test]
fn every_state_has_its_own_word_and_is_read_back_from_it() {
    for (state, word) in [
        (State::Claimed, "claimed"),
        (State::Sending, "sending"),
        (State::Unknown, "unknown"),
        (State::Ready, "ready"),
        (State::Completed, "completed"),
        (State::Rejected, "rejected"),
        (State::Parked, "parked"),
    ] {
        assert_eq!(state.as_str(), word);
        assert_eq!(state.to_string(), word);
        assert_eq!(State::parse(word), Some(state));
    }
    for word in ["", "Claimed", " claimed", "settled"] {
        assert_eq!(State::parse(word), None, "{word:?}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_state_is_stored_by_its_own_word() {
    for state in State::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}

#[cfg(feature = "serde")]
#[test]
fn an_outcome_is_stored_by_its_own_word_and_no_other_is_read() {
    for outcome in [
        Outcome::Unsent,
        Outcome::NoEffect,
        Outcome::Rejected,
        Outcome::Unknown,
        Outcome::Applied,
    ] {
        let ended = Ended {
            at: Timestamp::from_millis(5),
            outcome,
            closed: true,
        };
        let stored = serde_json::json!({"at": 5, "outcome": outcome.as_str(), "closed": true});
        assert_eq!(serde_json::to_value(ended).unwrap(), stored);
        assert_eq!(serde_json::from_value::<Ended>(stored).unwrap(), ended);
    }
    for outcome in ["", "Applied", "maybe"] {
        let stored = serde_json::json!({"at": 5, "outcome": outcome, "closed": true});
        let refused = serde_json::from_value::<Ended>(stored).unwrap_err();
        assert!(refused.to_string().contains("unknown outcome"), "{refused}");
    }
}

#[test]
fn a_step_that_does_not_exist_is_told_with_both_of_its_ends() {
    let step = IllegalStep {
        from: State::Completed,
        to: State::Sending,
    };
    assert_eq!(
        step.to_string(),
        "an operation that is completed cannot become sending"
    );
}

#[test]
fn what_is_recorded_is_shown_by_its_kind_and_size_alone() {
    let secret = || vec![("x-secret".to_owned(), "token-7".to_owned())];
    let request = StoredRequest {
        method: http::Method::PUT,
        uri: http::Uri::from_static("https://user:pass@upstream/pay/1?card=4111"),
        headers: secret(),
        body: Bytes::from_static(b"amount-1042"),
    };
    assert_eq!(
        format!("{request:?}"),
        "StoredRequest(PUT /pay/1, 1 headers, 11 bytes)"
    );
    let answer = StoredAnswer {
        status: 201,
        headers: secret(),
        body: Bytes::from_static(b"balance-55"),
    };
    assert_eq!(
        format!("{answer:?}"),
        "StoredAnswer(201, 1 headers, 10 bytes)"
    );
    let mut digest = [0xab; 32];
    digest[0] = 0x01;
    let fingerprint = Fingerprint { version: 3, digest };
    assert_eq!(
        format!("{fingerprint:?}"),
        "Fingerprint(v3, [01, ab, ab, ab]..)"
    );
}
