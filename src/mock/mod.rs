//! A QuickBooks Online that misbehaves on purpose, in process, and keeps a history that can be judged.

pub mod bodies;
mod config;
mod date;
mod entities;
mod envelope;
mod faults;
mod history;
mod latency;
mod ledger;
mod money;
mod query;
mod replay;
mod route;
mod rules;
mod seed;
mod server;
mod service;
mod throttle;
mod work;

pub use config::{
    CompanyConfig, Concurrent, InvalidMock, MockConfig, PaidBill, RequestIdConfig, ThrottleConfig,
    ThrottleShape,
};
pub use faults::{Fault, FaultPlan, FaultRule, HangCommit, On};
pub use history::{Effect, EffectKind, History, SendRecord};
pub use latency::Latency;
pub use service::{Answer, MockError, MockQbo};
