//! The scenarios that come with the crate, and how one is found by name or by path.

use super::config::Scenario;
use super::error::ScenarioError;
use std::path::Path;

/// The stored scenarios: name and text. Kept in the crate, so that a name works from anywhere.
pub const STORED: [(&str, &str); 5] = [
    (
        "pay-bills",
        include_str!("../../examples/scenarios/pay-bills.toml"),
    ),
    (
        "outage",
        include_str!("../../examples/scenarios/outage.toml"),
    ),
    (
        "throttle-storm",
        include_str!("../../examples/scenarios/throttle-storm.toml"),
    ),
    (
        "crash-loop",
        include_str!("../../examples/scenarios/crash-loop.toml"),
    ),
    (
        "amnesia",
        include_str!("../../examples/scenarios/amnesia.toml"),
    ),
];

/// One of the stored scenarios.
///
/// # Errors
/// When there is none of this name; the error lists those there are.
pub fn stored(name: &str) -> Result<Scenario, ScenarioError> {
    let text = STORED.iter().find(|(known, _)| *known == name);
    match text {
        Some((_, text)) => Scenario::parse(text),
        None => Err(ScenarioError::Unknown {
            name: name.to_owned(),
            known: STORED.iter().map(|(known, _)| *known).collect(),
        }),
    }
}

/// A stored scenario by name, or any other by the path of its file.
///
/// # Errors
/// When there is neither, or the file is no scenario.
pub fn find(name_or_path: &str) -> Result<Scenario, ScenarioError> {
    let path = Path::new(name_or_path);
    if STORED.iter().any(|(known, _)| *known == name_or_path) || !path.exists() {
        return stored(name_or_path);
    }
    let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::File {
        path: path.to_owned(),
        source,
    })?;
    Scenario::parse(&text).map_err(|error| match error {
        ScenarioError::Text(why) => ScenarioError::Text(format!("{}: {why}", path.display())),
        error => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stored_scenario_parses_and_bears_its_name() {
        for (name, _) in STORED {
            let scenario = stored(name).unwrap();
            assert_eq!(scenario.name, name);
            assert!(!scenario.about.is_empty(), "{name} says what it shows");
        }
    }

    #[test]
    fn an_unknown_scenario_is_answered_with_the_known_ones() {
        let told = find("pay-bils").unwrap_err().to_string();
        for (name, _) in STORED {
            assert!(told.contains(name), "{told}");
        }
    }
}
