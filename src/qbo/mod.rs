//! x
mod classify;
mod entity;
pub mod fault;
mod json;
pub mod limits;
mod proof;
mod query_string;
mod realm;
mod route;
#[cfg(test)]
mod samples;
mod xml;

pub use classify::QboClassify;
pub use entity::{Entity, EntityKind};
pub use realm::Realm;
pub use route::{Operation, QboRoute, realm_of};
