// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records: the messages that the guest sends to the host, one in each frame.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::curve::Curve;

/// Interval in milliseconds at which `init` sends [`Record::Alive`] while a case runs. It lets the host distinguish a
/// long case from a dead guest.
pub const ALIVE_EVERY_MS: u64 = 2_000;

/// Maximum number of bytes of a file in one record. It keeps the frame well below
/// [`LINE_MAX`](crate::frame::LINE_MAX).
pub const FILE_PART: usize = 12 * 1024;

/// Maximum number of bytes of a program's output in one record.
pub const OUTPUT_PART: usize = 4096;

/// Name of the figure that holds the exit code of a case's program: 128 plus the number of the signal if a signal killed
/// the program, as in a shell of the guest.
pub const EXIT_CODE: &str = "exit_code";

/// One message from the guest to the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Record {
    /// First record of a boot: `init` is running on a machine with these properties.
    Hello {
        /// `uname -r`.
        release: String,
        /// `uname -m`.
        machine: String,
        /// Page size in bytes.
        page_size: u64,
        /// Memory that the kernel manages (`MemTotal` of `/proc/meminfo`), in bytes.
        memory: u64,
        /// Value of `/proc/sys/kernel/tainted` before the first case.
        taint: u64,
        /// Number of cases in the plan.
        cases: usize,
        /// Lines of the kernel log and of `/proc/cpuinfo` that mention a cache.
        caches: Vec<String>,
    },
    /// A case begins. Every event until its [`Record::CaseEnd`] counts against the case.
    CaseStart {
        /// ID of the case.
        case: String,
    },
    /// A process of the case printed a line.
    Log {
        /// ID of the case.
        case: String,
        /// The line, without its newline.
        line: String,
    },
    /// The program of a case printed something, and the plan asks for all of its output.
    Output {
        /// ID of the case.
        case: String,
        /// Stream that the program wrote to.
        stream: Stream,
        /// The output, at most [`OUTPUT_PART`] bytes; base64 on the wire.
        #[serde(with = "crate::bytes")]
        bytes: Vec<u8>,
    },
    /// A case measured a curve.
    Curve {
        /// ID of the case.
        case: String,
        /// The curve.
        curve: Curve,
    },
    /// `init` is alive. Sent every [`ALIVE_EVERY_MS`] while a case runs.
    Alive,
    /// A case has ended and its processes are gone.
    CaseEnd {
        /// ID of the case.
        case: String,
        /// Outcome as seen by the guest. The host may still find an error on the console.
        outcome: Outcome,
        /// Duration of the case in milliseconds, by the guest's clock.
        millis: u64,
        /// Bits of `/proc/sys/kernel/tainted` that the case added.
        taint: u64,
        /// Figures measured by the case and by the checks around it, by name. The name ends in the unit: `_pages`,
        /// `_kib`, `_us`.
        figures: BTreeMap<String, f64>,
    },
    /// Next part of a file that the guest sends: coverage counts of a kernel with gcov, after the last case, or files that
    /// the plan asks for, after the program of a case.
    File {
        /// Name of the file, without its directory.
        name: String,
        /// Size of the whole file in bytes.
        size: usize,
        /// This part, at most [`FILE_PART`] bytes; base64 on the wire.
        #[serde(with = "crate::bytes")]
        part: Vec<u8>,
    },
    /// Last record of a boot: all cases of the plan have run, and the machine restarts.
    Goodbye,
}

/// Output stream of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Outcome of a case, as far as the guest can see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// Every check succeeded.
    Pass,
    /// A check failed, a process died, or a resource leaked.
    Fail {
        /// The expected and the actual result, in plain text.
        reason: String,
    },
    /// The case does not apply to this machine.
    Skip {
        /// Property of the machine that rules the case out, in plain text.
        reason: String,
    },
    /// The case missed its deadline, and its processes were killed.
    Timeout,
}
