// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host tool of dmmap-lab: `plan -> kernel -> image -> boot -> watch -> judge -> report`.
//!
//! [`run`] tells that story for one target; everything else is one of its steps or serves one.

pub(crate) mod bench;
pub(crate) mod boot;
pub(crate) mod cargo;
pub(crate) mod check;
pub(crate) mod ci;
pub mod cli;
pub mod commands;
pub(crate) mod coverage;
pub(crate) mod debian;
pub(crate) mod event;
pub(crate) mod flavour;
pub(crate) mod gate;
pub mod guard;
pub(crate) mod image;
pub mod interrupt;
pub(crate) mod judge;
pub mod kernel;
pub(crate) mod ledger;
pub(crate) mod lock;
pub(crate) mod machine;
pub mod oracle;
pub(crate) mod paths;
pub(crate) mod plan;
pub(crate) mod promise;
pub mod report;
pub mod results;
pub(crate) mod run;
pub mod setup;
pub(crate) mod suite;
pub mod target;
pub(crate) mod version;
pub(crate) mod wait;
pub(crate) mod watch;
pub mod yaml;
