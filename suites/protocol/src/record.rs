// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records: what the guest reports, one frame each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How often `init` says that it is alive while a case runs, in milliseconds: what tells a long case from a dead guest.
pub const ALIVE_EVERY_MS: u64 = 2_000;

/// Bytes of a file in one record, so that its frame is well below [`LINE_MAX`](crate::frame::LINE_MAX).
pub const FILE_PART: usize = 12 * 1024;

/// One message from guest to host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Record {
    /// The first record: `init` is up, and this is the machine it found.
    Hello {
        /// `uname -r`.
        release: String,
        /// `uname -m`.
        machine: String,
        /// Bytes in a page.
        page_size: u64,
        /// Bytes of memory the kernel manages (MemTotal).
        memory: u64,
        /// Value of `/proc/sys/kernel/tainted` before any case ran.
        taint: u64,
        /// Number of cases found in the plan.
        cases: usize,
        /// What the kernel says of its caches: the lines of its log and of `/proc/cpuinfo` that speak of one.
        caches: Vec<String>,
    },
    /// A case begins. Whatever happens before its [`Record::CaseEnd`] is charged to it.
    CaseStart {
        /// Name of the case.
        case: String,
    },
    /// A line that a process of the case printed.
    Log {
        /// Name of the case.
        case: String,
        /// The line, without its end.
        line: String,
    },
    /// Nothing new, but `init` is alive; sent every [`ALIVE_EVERY_MS`] while a case runs.
    Alive,
    /// A case is over and its processes are gone.
    CaseEnd {
        /// Name of the case.
        case: String,
        /// What the guest makes of it; the host may still find worse in the console.
        outcome: Outcome,
        /// Milliseconds from start to end, by the guest's clock.
        millis: u64,
        /// Bits of `/proc/sys/kernel/tainted` that the case added.
        taint: u64,
        /// Figures the case or the checks around it took, by name. Units are in the names: `_pages`, `_kib`, `_us`.
        figures: BTreeMap<String, f64>,
    },
    /// The next part of a file that the guest has for the host, after its last case. A kernel that counts which of its
    /// lines run has some.
    File {
        /// Its name, without a directory.
        name: String,
        /// Bytes of the whole file.
        size: usize,
        /// The part: at most [`FILE_PART`] bytes, in base64.
        #[serde(with = "crate::bytes")]
        part: Vec<u8>,
    },
    /// All cases of the plan were run; the machine ends now.
    Goodbye,
}

/// What became of a case, as far as the guest can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// Everything the case checks held.
    Pass,
    /// A check did not hold, a process died, or something leaked.
    Fail {
        /// What was expected and what was found, for a person.
        reason: String,
    },
    /// The case cannot hold on this machine.
    Skip {
        /// Why.
        reason: String,
    },
    /// The deadline passed; the processes of the case were killed.
    Timeout,
}
