// SPDX-License-Identifier: MIT OR Apache-2.0
//! Oracle: the host side of the QEMU plugin in `oracle/`, which models a data cache that aliases and reports accesses
//! that hardware may answer with stale data. `docs/oracle.md` describes the plugin.
//!
//! [`decision`] decides if a target runs under the oracle, [`plugin`] builds the plugin, and [`config`] contains its
//! configuration. The plugin writes [lines of JSON](mod@line). A [`Listener`](listener::Listener) decides if they can be
//! trusted, and assigns each finding to a case. [`story`] describes a finding in words, and [`files`] reads findings
//! after the run. [`mapping`] describes the page of a finding. [`excuse`] accepts findings that are known, [`kallsyms`]
//! names functions of modules, and [`mail`] writes a report for the kernel's maintainers.

pub(crate) mod config;
pub(crate) mod decision;
pub(crate) mod excuse;
pub(crate) mod files;
pub(crate) mod kallsyms;
pub(crate) mod line;
pub(crate) mod listener;
pub(crate) mod mail;
mod mapping;
pub(crate) mod plugin;
pub(crate) mod story;

pub use decision::{Depth, OracleMode, OracleRequest};
pub(crate) use decision::{OracleDecision, decide};
pub(crate) use oracle_wire::config::Config;

use std::path::PathBuf;

/// The oracle of a boot.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    /// Path of the plugin.
    pub plugin: PathBuf,
    pub config: Config,
    /// Findings of the target that are known and accepted.
    pub excuses: Vec<excuse::Excuse>,
}
