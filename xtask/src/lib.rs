// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host tool of dmmap-lab: `plan -> kernel -> image -> boot -> watch -> judge -> report`.
//!
//! [`run`] tells that story for one target; everything else is one of its steps or serves one.

pub mod bench;
pub mod boot;
pub mod cargo;
pub mod check;
pub mod ci;
pub mod cli;
pub mod commands;
pub mod coverage;
pub mod debian;
pub mod event;
pub mod flavour;
pub mod gate;
pub mod guard;
pub mod image;
pub mod interrupt;
pub mod judge;
pub mod kernel;
pub mod ledger;
pub mod machine;
pub mod oracle;
pub mod paths;
pub mod plan;
pub mod promise;
pub mod report;
pub mod run;
pub mod setup;
pub mod suite;
pub mod target;
pub mod verdict;
pub mod version;
pub mod watch;
pub mod yaml;
