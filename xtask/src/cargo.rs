// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds of packages by the cargo that runs this tool.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::{Result, bail};
use cargo_metadata::{Artifact, Message};

use crate::guard;

/// The cargo that runs this tool.
pub(crate) fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The build of a package.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    /// Arguments of cargo.
    pub args: Vec<OsString>,
    /// Environment variables to set. Those without a value are removed.
    pub env: BTreeMap<String, Option<OsString>>,
}

impl Build {
    /// Returns a build of `package` with the additional arguments `more`. A separate `target_dir` keeps it from waiting
    /// for another build, and from replacing that build's files.
    pub(crate) fn new(package: &str, more: &[&str], target_dir: &Path) -> Self {
        Self::of("--package", package.as_ref(), more, target_dir)
    }

    /// Returns a build of the user's package with this manifest.
    pub(crate) fn of_manifest(manifest: &Path, more: &[&str], target_dir: &Path) -> Self {
        Self::of("--manifest-path", manifest.as_os_str(), more, target_dir)
    }

    fn of(option: &str, value: &OsStr, more: &[&str], target_dir: &Path) -> Self {
        let what = ["build".as_ref(), "--quiet".as_ref(), option.as_ref(), value];
        let format = ["--message-format", "json-render-diagnostics"];
        let more = more.iter().chain(&format).map(OsString::from);
        let place = ["--target-dir".into(), target_dir.into()];
        let args = what.map(OsStr::to_owned).into_iter().chain(more).chain(place);
        Self { args: args.collect(), env: BTreeMap::new() }
    }

    /// Runs cargo in the directory `dir` and returns the artifacts in cargo's order. `what` names the build in errors.
    ///
    /// # Errors
    /// The build fails. The error contains the compiler's messages.
    pub(crate) fn run(&self, dir: &Path, what: &str) -> Result<Vec<Artifact>> {
        let mut command = guard::command(program(), &self.args).dir(dir);
        for (name, value) in &self.env {
            command = match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = guard::run(&command.stdout_capture().stderr_capture())?;
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr);
            bail!("build {what}: {}\n{}", output.status, messages.trim_end());
        }
        Ok(artifacts(&output.stdout))
    }
}

/// Returns the artifacts among cargo's messages.
pub(crate) fn artifacts(messages: &[u8]) -> Vec<Artifact> {
    let messages = Message::parse_stream(messages).map_while(Result::ok);
    let artifacts = messages.filter_map(|message| match message {
        Message::CompilerArtifact(artifact) => Some(artifact),
        _ => None,
    });
    artifacts.collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Returns cargo's message about an artifact, between other output.
    pub(crate) fn message(executable: Option<&str>, filenames: &[&str]) -> Vec<u8> {
        let artifact = json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///checkout#init@0.1.0",
            "manifest_path": "/checkout/Cargo.toml",
            "target": {
                "kind": ["bin"], "crate_types": ["bin"], "name": "init", "src_path": "/checkout/src/main.rs",
                "edition": "2024", "doc": true, "doctest": false, "test": true
            },
            "profile": {
                "opt_level": "2", "debuginfo": 0, "debug_assertions": false, "overflow_checks": false, "test": false
            },
            "features": [],
            "filenames": filenames,
            "executable": executable,
            "fresh": true
        });
        let end: Value = json!({"reason": "build-finished", "success": true});
        format!("not json\n{artifact}\n{end}\n").into_bytes()
    }

    #[test]
    fn artifacts_are_found_among_the_messages() {
        let found = artifacts(&message(Some("/t/init"), &["/t/init"]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].executable.as_deref(), Some("/t/init".into()));
    }
}
