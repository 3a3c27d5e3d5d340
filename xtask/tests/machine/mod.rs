// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Debian host whose `PATH` contains only shell scripts that stand in for programs.

use std::path::PathBuf;

use tempfile::TempDir;
use xtask::setup::Host;

use crate::scripts;

pub struct Machine {
    /// The only directory in `PATH`, and the place for all other files.
    pub dir: TempDir,
    /// Description of the machine for set-up.
    pub host: Host,
}

impl Machine {
    /// Creates a machine with this `/etc/os-release`. The user is root and there is no terminal.
    pub fn new(os_release: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Host {
            path: dir.path().into(),
            os_release: os_release.into(),
            root: true,
            terminal: false,
            cache: dir.path().join("cache"),
        };
        Self { dir, host }
    }

    /// Adds a program that runs `script`.
    pub fn with(self, program: &str, script: &str) -> Self {
        scripts::write(&self.path(program), script);
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces the path of the machine's directory in `text` with `DIR`.
    pub fn plain(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "DIR")
    }

    /// Returns the calls that the scripts have logged in the file `calls`.
    pub fn calls(&self) -> String {
        let calls = std::fs::read_to_string(self.path("calls"));
        self.plain(&calls.unwrap_or_default())
    }
}
