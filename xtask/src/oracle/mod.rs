// SPDX-License-Identifier: MIT OR Apache-2.0
//! Oracle: the host's side of the QEMU plugin in `oracle/`, which models a data cache that aliases and reports accesses
//! that hardware may answer with stale data. `docs/oracle.md` says how it does.
//!
//! [`choice`] says whether a target can run under it, [`plugin`] builds it, [`config`] tells it what to model. It
//! answers with [lines of JSON](mod@line), a [`Listener`](listener::Listener) decides whether they can be trusted and whose
//! each finding is, and [`story`] tells one to a person. [`files`] finds it again after the run. [`selftest`] breaks what it watches, to see that it notices.

pub mod choice;
pub mod config;
pub mod files;
pub mod line;
pub mod listener;
pub mod plugin;
pub mod qemu;
pub mod selftest;
pub mod story;

pub use choice::{Choice, Depth, Wanted, Wish, choose};
pub use config::Config;

use std::path::PathBuf;

/// What is written for the plugin, in the directory of a boot.
pub const CONFIG: &str = "oracle.json";

/// What the plugin writes, in the directory of a boot.
pub const FINDINGS: &str = "oracle.jsonl";

/// The oracle as a boot needs it.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// The plugin.
    pub plugin: PathBuf,
    /// What it is to model.
    pub config: Config,
}
