// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Debian whose `PATH` is a directory with nothing in it but scripts that play programs.

use std::path::PathBuf;

use tempfile::TempDir;
use xtask::setup::Host;

use crate::scripts;

/// What the tests set up.
pub struct Machine {
    /// Where everything is, the directory in `PATH`.
    pub dir: TempDir,
    /// What set-up is told of it.
    pub host: Host,
}

impl Machine {
    /// One with this `/etc/os-release`, for root, without a terminal.
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

    /// With a program that runs `script`.
    pub fn with(self, program: &str, script: &str) -> Self {
        scripts::write(&self.path(program), script);
        self
    }

    /// Of something in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The text, with `DIR` for its directory.
    pub fn plain(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "DIR")
    }

    /// How the fake programs were called that say so.
    pub fn calls(&self) -> String {
        let calls = std::fs::read_to_string(self.path("calls"));
        self.plain(&calls.unwrap_or_default())
    }
}
