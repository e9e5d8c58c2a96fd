//! Why a scenario could not be run.

use crate::error::{BoxError, InvalidConfig};
use std::fmt;
use std::path::PathBuf;

/// Why a scenario could not be run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScenarioError {
    /// Neither a stored scenario nor a file.
    Unknown {
        /// What was asked for.
        name: String,
        /// The stored scenarios.
        known: Vec<&'static str>,
    },
    /// The file could not be read.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no scenario: says the line and what was expected.
    Text(String),
    /// A setting that cannot work.
    Setting(InvalidConfig),
    /// A line-up did not start.
    LineUp {
        /// Which.
        name: String,
        /// Why.
        source: BoxError,
    },
    /// The simulation itself failed.
    Run(BoxError),
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, known } => write!(
                f,
                "no scenario \"{name}\": use one of {}, or the path of a TOML file",
                known.join(", ")
            ),
            Self::File { path, .. } => {
                write!(f, "the scenario file {} could not be read", path.display())
            }
            Self::Text(why) => f.write_str(why),
            Self::Setting(setting) => setting.fmt(f),
            Self::LineUp { name, source } => {
                write!(f, "the line-up \"{name}\" did not start: {source}")
            }
            Self::Run(source) => write!(f, "the simulation failed: {source}"),
        }
    }
}

impl std::error::Error for ScenarioError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::LineUp { source, .. } | Self::Run(source) => Some(&**source),
            Self::Unknown { .. } | Self::Text(_) | Self::Setting(_) => None,
        }
    }
}

impl From<InvalidConfig> for ScenarioError {
    fn from(setting: InvalidConfig) -> Self {
        Self::Setting(setting)
    }
}
