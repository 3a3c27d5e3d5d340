// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the plugin is told: the file [`CONFIG`](super::CONFIG) in the directory of a boot.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Depth, FINDINGS};
use crate::target::{CacheKind, CacheSpec, ModelArch, ModelSpec, WritePolicy};

/// What the plugin is to model, and where it writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Its table of instructions.
    pub arch: ModelArch,
    /// The cache.
    pub cache: Cache,
    /// Bytes in a page.
    pub page: u64,
    /// Whose accesses.
    pub depth: Depth,
    /// Whether it does not hear of one of the ways in which the kernel flushes: a trial of [`super::selftest`].
    pub deaf: bool,
    /// The kernel's System.map, where there is one: names for the kernel's code, and the places of its flushes.
    pub symbols: Option<PathBuf>,
    /// What the plugin writes, relative to the directory of the boot.
    pub findings: PathBuf,
}

/// A cache as the plugin knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cache {
    /// How it is indexed and tagged.
    pub kind: CacheKind,
    /// Bytes after which colours repeat.
    pub period: u64,
    /// Bytes in a line.
    pub line: u64,
    /// Where a store goes.
    pub write: WritePolicy,
}

impl Config {
    /// For the machine with this cache and `model`; `symbols` is left out where there is no such file.
    pub(crate) fn new(cache: &CacheSpec, model: &ModelSpec, depth: Depth, symbols: &Path) -> Self {
        Self {
            arch: model.arch,
            cache: Cache {
                kind: cache.kind,
                period: cache.period,
                line: cache.line,
                write: model.write,
            },
            page: model.page,
            depth,
            deaf: false,
            symbols: symbols.is_file().then(|| symbols.to_owned()),
            findings: FINDINGS.into(),
        }
    }

    /// The content of the file.
    pub(crate) fn render(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("it is plain data");
        text + "\n"
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// That of ARMv6.
    pub(crate) fn armv6() -> Config {
        let mut cache = crate::target::tests::x86_64().cache;
        cache.kind = CacheKind::Vipt;
        cache.period = 16384;
        cache.line = 32;
        let model = ModelSpec {
            arch: ModelArch::Arm,
            page: 4096,
            write: WritePolicy::Back,
        };
        Config::new(
            &cache,
            &model,
            Depth::User,
            Path::new("/nowhere/System.map"),
        )
    }

    #[test]
    fn what_the_plugin_reads() {
        let mut config = armv6();
        insta::assert_snapshot!(config.render(), @r#"
        {
          "arch": "arm",
          "cache": {
            "kind": "vipt",
            "period": 16384,
            "line": 32,
            "write": "back"
          },
          "page": 4096,
          "depth": "user",
          "deaf": false,
          "symbols": null,
          "findings": "oracle.jsonl"
        }
        "#);
        config.symbols = Some("/kernels/1f/System.map".into());
        config.cache.write = WritePolicy::Through;
        config.depth = Depth::Full;
        let text = config.render();
        for part in [
            r#""write": "through""#,
            r#""depth": "full""#,
            r#""symbols": "/kernels/1f/System.map""#,
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
