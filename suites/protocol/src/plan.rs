// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan: the cases of one boot. The host compiles it; `init` reads it from [`PATH`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Path of the plan in the guest's initramfs.
pub const PATH: &str = "/plan.json";

/// Version of the layout of [`Plan`]. A guest rejects a plan of any other version.
pub const VERSION: u32 = 2;

/// Work for one boot of the guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Always [`VERSION`].
    pub version: u32,
    /// Task of the guest after it has booted.
    pub mode: Mode,
    /// The cases, in the order in which they run.
    pub cases: Vec<PlannedCase>,
}

/// Task of the guest after it has booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Run the cases, send records, and restart the machine.
    Run,
    /// Open an interactive shell on the console.
    Shell,
    /// Send the names and the addresses of the kernel's functions, as the file
    /// [`kallsyms::FILE`](crate::kallsyms::FILE), and restart the machine.
    Symbols,
    /// Restart the machine immediately. The duration of this bare boot is the baseline for timing runs.
    Halt,
}

/// One case, with everything that the guest needs to run it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCase {
    /// Unique name of the case: `suite/name` or `suite/name.device`.
    pub id: String,
    /// Code that the case runs.
    pub work: Work,
    /// Kind of file that the server offers; `None` for a case without a server.
    pub device: Option<Device>,
    /// Parameters of the function, as written in the suite's YAML.
    #[serde(default)]
    pub with: BTreeMap<String, serde_json::Value>,
    /// Distance in bytes after which the colours of the machine's data cache repeat; one page if the cache does not
    /// alias, or is virtually tagged and has no colours.
    pub period: u64,
    /// True if the machine's data cache can contain the same memory more than once.
    pub aliases: bool,
    /// Time in milliseconds after which the guest kills the case, already scaled for the accelerator and the flavour.
    pub deadline_ms: u64,
}

/// Code that a case runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Name of the function in the suite's module of the `workloads` crate, or `suite/function` for a function of
    /// another suite.
    Function(String),
    /// A program in the image. It exits with [`programs::PASSED`](crate::programs::PASSED),
    /// [`programs::SKIPPED`](crate::programs::SKIPPED), or any other status for a failure. The last line of its output
    /// is the reason.
    Program {
        /// Name for [`programs::path`](crate::programs::path).
        name: String,
        /// Arguments.
        args: Vec<String>,
    },
    /// A program of the user.
    Command(GuestProgram),
}

/// A program of the image, and the treatment of its output and of its exit code. It runs as root in the directory `/`,
/// without input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestProgram {
    /// The program, followed by its arguments. A name without `/` is searched for in [`PROGRAM_DIRS`].
    pub argv: Vec<String>,
    /// True to send the output unchanged, as [`Record::Output`](crate::record::Record::Output); false to send a limited
    /// number of lines, as [`Record::Log`](crate::record::Record::Log).
    pub stream: bool,
    /// Exit code with which the program reports that the case does not apply to this machine. A case whose program exits
    /// with any other code than this and 0 fails.
    #[serde(default)]
    pub skip_code: Option<i32>,
    /// Paths of files to send to the host after the program has ended, as [`Record::File`](crate::record::Record::File).
    /// Their names, without directories, are unique.
    #[serde(default)]
    pub files: Vec<String>,
}

/// Directories of programs, in the order in which they are searched. They are also the value of `PATH` for a program.
pub const PROGRAM_DIRS: [&str; 5] = ["/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Kind of file that a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Device {
    /// A file in a mounted FUSE filesystem.
    Fuse,
    /// A CUSE character device.
    Cuse,
}
