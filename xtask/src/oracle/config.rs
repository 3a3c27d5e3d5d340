// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plugin's configuration for a target, which a boot writes to [`ORACLE_CONFIG`](crate::run_dir::ORACLE_CONFIG).

use std::path::PathBuf;

use oracle_wire::config::{Cache, Config, Depth};

use crate::run_dir::ORACLE_FINDINGS;
use crate::target::{CacheSpec, ModelSpec};

/// Returns the configuration for a machine with this cache and `model`. `symbols` is the kernel's `System.map`.
pub(crate) fn for_target(
    cache: &CacheSpec,
    model: &ModelSpec,
    depth: super::Depth,
    symbols: Option<PathBuf>,
) -> Config {
    Config {
        arch: model.arch,
        cache: Cache {
            kind: cache.kind,
            period: cache.period,
            line: cache.line,
            write: model.write,
        },
        page: model.page,
        depth: match depth {
            super::Depth::User => Depth::User,
            super::Depth::Full => Depth::Full,
            super::Depth::Strict => Depth::Strict,
        },
        ignore_flushes: false,
        symbols,
        findings: ORACLE_FINDINGS.into(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use oracle_wire::config::{Arch, CacheKind, WritePolicy};

    use super::*;

    /// Returns the configuration for ARMv6.
    pub(crate) fn armv6() -> Config {
        let mut cache = crate::target::tests::x86_64().cache;
        cache.kind = CacheKind::Vipt;
        cache.period = 16384;
        cache.line = 32;
        let model = ModelSpec { arch: Arch::Arm, page: 4096, write: WritePolicy::Back };
        for_target(&cache, &model, super::super::Depth::User, None)
    }

    #[test]
    fn the_configuration_as_json() {
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
          "ignore_flushes": false,
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
