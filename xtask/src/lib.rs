// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host tool of dmmap-lab: `plan -> kernel -> image -> boot -> watch -> judge -> report`.
//!
//! The modules below are in that order. [`run`] takes one target through the pipeline; docs/architecture.md says which
//! module may use which.

// Output is written by `output`, whose macros do not panic.
#![warn(clippy::print_stdout, clippy::print_stderr)]

// General tools, used by all steps.
pub(crate) mod files;
pub mod guard;
pub mod interrupt;
pub(crate) mod lock;
pub mod output;
pub(crate) mod paths;
pub mod program;
pub(crate) mod shell;
pub(crate) mod text;
pub(crate) mod version;
pub(crate) mod wait;
pub mod yaml;

// Data that passes between the steps.
pub(crate) mod event;
pub mod results;
pub(crate) mod run_dir;

// Plan: which cases run on which target.
pub(crate) mod flavour;
pub mod kernel_version;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod promise;
pub(crate) mod suite;
pub mod target;
pub mod variant;

// Set-up: programs that the host must have.
pub mod setup;

// Kernel.
pub mod kernel;

// Image: programs of the guest, and the initramfs.
pub(crate) mod cargo;
pub(crate) mod image;

// Boot: QEMU, and the oracle inside it.
pub(crate) mod boot;
pub mod machine;
pub mod oracle;

// Watch.
pub(crate) mod watch;

// Judge.
pub(crate) mod judge;
pub(crate) mod ledger;

// Report.
pub(crate) mod coverage;
pub(crate) mod history;
pub mod report;

// Run: the pipeline for each target.
pub(crate) mod gate;
pub(crate) mod run;

// Commands.
pub(crate) mod bench;
pub(crate) mod changes;
pub(crate) mod check;
pub(crate) mod ci;
pub mod cli;
pub mod commands;
pub mod config;
pub(crate) mod schema;
pub(crate) mod tree;
pub(crate) mod trials;
