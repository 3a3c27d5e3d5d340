// SPDX-License-Identifier: MIT OR Apache-2.0
//! Oracle: the host's side of the QEMU plugin in `oracle/`, which models a data cache that aliases and reports accesses
//! that hardware may answer with stale data. `docs/oracle.md` says how it does.
//!
//! [`choice`] says whether a target can run under it, [`plugin`] builds it, [`config`] tells it what to model. It
//! answers with [lines of JSON](mod@line), a [`Listener`](listener::Listener) decides whether they can be trusted and whose
//! each finding is, and [`story`] tells one to a person. [`files`] finds it again after the run. [`selftest`] breaks what it watches, to see that it notices.

pub(crate) mod choice;
pub(crate) mod config;
pub(crate) mod files;
pub(crate) mod line;
pub(crate) mod listener;
pub(crate) mod plugin;
pub(crate) mod story;

pub use choice::{Depth, OracleMode, OracleRequest};
pub(crate) use choice::{OracleDecision, choose};
pub(crate) use oracle_wire::config::Config;

use std::path::PathBuf;

/// The oracle as a boot needs it.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    /// The plugin.
    pub plugin: PathBuf,
    /// What it is to model.
    pub config: Config,
}
