// SPDX-License-Identifier: MIT OR Apache-2.0
//! The QEMU process. It runs in the directory of its boot and writes its streams to files there.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use duct::Handle;

use crate::guard;
use crate::run_dir::{CONSOLE, ORACLE_FINDINGS, QEMU_LOG, RECORDS};

/// Time that QEMU gets to exit after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// A running machine. Dropping it stops QEMU.
#[derive(Debug)]
pub(crate) struct Machine {
    dir: PathBuf,
    child: Handle,
    console: Tail,
    records: Tail,
    findings: Tail,
}

/// Exit of QEMU. It does not show whether the guest finished its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Exit without an error.
    Exit,
    /// Death by this signal.
    Signal(i32),
    /// Exit with this status and these messages.
    Error(i32, String),
}

impl Machine {
    /// Starts `binary` with `args` in `dir`, the directory for the console log, the records and QEMU's own messages.
    ///
    /// # Errors
    /// The program does not exist, or the directory cannot be written to.
    pub(crate) fn start(dir: &Path, binary: &str, args: &[String]) -> Result<Self> {
        let create = |name: &str| {
            let path = dir.join(name);
            File::create(&path).with_context(|| format!("create {}", path.display()))
        };
        // QEMU opens these two by name. They are created here so that they can be read from the start.
        create(CONSOLE)?;
        create(RECORDS)?;
        let child = guard::exec_command(binary, args)
            .dir(dir)
            .stdin_null()
            .stdout_null()
            .stderr_file(create(QEMU_LOG)?)
            .start()
            .with_context(|| {
                format!("start {binary}; run `cargo xtask doctor` to see what is missing")
            })?;
        Ok(Self {
            console: Tail::of(dir.join(CONSOLE)),
            records: Tail::of(dir.join(RECORDS)),
            findings: Tail::of(dir.join(ORACLE_FINDINGS)),
            dir: dir.to_owned(),
            child,
        })
    }

    /// Returns the bytes that were written to the console since the last call.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn console(&mut self) -> Result<Vec<u8>> {
        self.console.more()
    }

    /// Returns the bytes of records that were written since the last call.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn records(&mut self) -> Result<Vec<u8>> {
        self.records.more()
    }

    /// Returns the bytes that the oracle wrote since the last call.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn findings(&mut self) -> Result<Vec<u8>> {
        self.findings.more()
    }

    /// Returns the exit of QEMU, or `None` while it runs.
    ///
    /// # Errors
    /// The state of the process cannot be read.
    pub(crate) fn ended(&mut self) -> Result<Option<End>> {
        let status = self.child.try_wait().context("wait for QEMU")?.map(|output| output.status);
        Ok(status.map(|status| match (status.signal(), status.code()) {
            (Some(signal), _) => End::Signal(signal),
            (None, Some(0) | None) => End::Exit,
            (None, Some(code)) => End::Error(code, self.messages()),
        }))
    }

    /// Stops QEMU with SIGTERM, or with SIGKILL if it does not exit in time.
    pub(crate) fn stop(&mut self) {
        // Nothing more can be done about a process that survives SIGKILL.
        let _ = guard::stop(&self.child, GRACE);
    }

    fn messages(&self) -> String {
        let text = fs::read(self.dir.join(QEMU_LOG)).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A file that another process creates and appends to.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    /// `None` until the file exists.
    file: Option<File>,
}

impl Tail {
    fn of(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    fn more(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(bytes),
                opened => Some(opened.with_context(|| format!("open {}", self.path.display()))?),
            };
        }
        let file = self.file.as_mut().expect("it was opened above");
        file.read_to_end(&mut bytes).with_context(|| format!("read {}", self.path.display()))?;
        Ok(bytes)
    }
}
