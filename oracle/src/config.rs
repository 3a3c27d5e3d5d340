// SPDX-License-Identifier: GPL-2.0-or-later
//! Reads the plugin's configuration: the JSON file that its only argument, `config=FILE`, names.

use std::path::PathBuf;

use oracle_wire::config::{Arch, Cache, CacheKind, Config};

use crate::model::LONGEST_LINE;

/// Error in the plugin's arguments or in its configuration file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments are not a single `config=FILE`.
    #[error("expected exactly one argument, config=FILE, but found `{0}`")]
    Arguments(String),
    /// The file cannot be read.
    #[error("read the configuration {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// The file is not a valid configuration.
    #[error("parse the configuration {0}: {1}")]
    Parse(PathBuf, serde_json::Error),
    /// The file describes a machine that cannot exist or cannot be modelled.
    #[error("the configuration {0}: {1}")]
    Impossible(PathBuf, String),
}

/// Reads the configuration file that the plugin's arguments name.
///
/// # Errors
/// [`Error`], which names the file and the problem.
pub fn read(arguments: &[String]) -> Result<Config, Error> {
    let path: PathBuf = match arguments {
        [one] => one.strip_prefix("config=").map(PathBuf::from),
        _ => None,
    }
    .ok_or_else(|| Error::Arguments(arguments.join(",")))?;
    let text = std::fs::read_to_string(&path).map_err(|error| Error::Read(path.clone(), error))?;
    let config: Config =
        serde_json::from_str(&text).map_err(|error| Error::Parse(path.clone(), error))?;
    match problem(&config) {
        Some(problem) => Err(Error::Impossible(path, problem)),
        None => Ok(config),
    }
}

/// Returns a description of the first value that no machine has, or that the model does not support.
fn problem(config: &Config) -> Option<String> {
    let Cache { kind, period, line, .. } = config.cache;
    let sizes = [("page", config.page), ("period", period), ("line", line)];
    if let Some((name, size)) = sizes.iter().find(|(_, size)| !size.is_power_of_two()) {
        return Some(format!("`{name}` is {size}, which is not a power of two"));
    }
    if line > LONGEST_LINE.min(config.page) {
        return Some(format!(
            "`line` is {line}, but a line is at most a page, and at most {LONGEST_LINE} bytes in this model"
        ));
    }
    if kind == CacheKind::Vipt && period < config.page {
        return Some(format!("`period` is {period}, which is less than a page"));
    }
    if config.arch == Arch::None && kind != CacheKind::Physical {
        return Some("`arch` is `none`, which allows only a cache of kind `physical`".into());
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use oracle_wire::config::{Depth, WritePolicy};

    use super::*;

    /// Returns a configuration with a VIPT write-back cache that has four colours of 4 KiB.
    pub fn sample() -> Config {
        Config {
            arch: Arch::Arm,
            cache: Cache {
                kind: CacheKind::Vipt,
                period: 16384,
                line: 32,
                write: WritePolicy::Back,
            },
            page: 4096,
            depth: Depth::User,
            ignore_flushes: false,
            symbols: None,
            findings: "findings".into(),
        }
    }

    const GOOD: &str = r#"{"arch":"sparc64","cache":{"kind":"vipt","period":16384,"line":32,"write":"through"},
        "page":8192,"depth":"full","symbols":null,"findings":"/run/oracle.jsonl"}"#;

    /// Returns the configuration in `text`, or the error, as text.
    fn outcome(text: &str) -> String {
        let dir = std::env::temp_dir().join(format!("oracle-config-{:p}", text));
        std::fs::write(&dir, text).unwrap();
        let read = read(&[format!("config={}", dir.display())]);
        std::fs::remove_file(&dir).unwrap();
        match read {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string().replace(&*dir.to_string_lossy(), "FILE"),
        }
    }

    #[test]
    fn a_configuration_is_parsed() {
        insta::assert_snapshot!(outcome(GOOD), @r#"Config { arch: Sparc64, cache: Cache { kind: Vipt, period: 16384, line: 32, write: Through }, page: 8192, depth: Full, ignore_flushes: false, symbols: None, findings: "/run/oracle.jsonl" }"#);
    }

    #[test]
    fn a_missing_or_unknown_field_is_named() {
        insta::assert_snapshot!(outcome(&GOOD.replace("\"symbols\":null,", "")), @"parse the configuration FILE: missing field `symbols` at line 2 column 66");
        insta::assert_snapshot!(outcome(&GOOD.replace("\"page\"", "\"pages\"")), @"parse the configuration FILE: unknown field `pages`, expected one of `arch`, `cache`, `page`, `depth`, `ignore_flushes`, `symbols`, `findings` at line 2 column 15");
        insta::assert_snapshot!(outcome(&GOOD.replace("sparc64", "vax")), @"parse the configuration FILE: unknown variant `vax`, expected one of `arm`, `hppa`, `sparc64`, `none` at line 1 column 13");
    }

    #[test]
    fn an_impossible_machine_is_rejected() {
        insta::assert_snapshot!(outcome(&GOOD.replace("16384", "16385")), @"the configuration FILE: `period` is 16385, which is not a power of two");
        insta::assert_snapshot!(outcome(&GOOD.replace("16384", "4096")), @"the configuration FILE: `period` is 4096, which is less than a page");
        insta::assert_snapshot!(outcome(&GOOD.replace("\"line\":32", "\"line\":16384")), @"the configuration FILE: `line` is 16384, but a line is at most a page, and at most 64 bytes in this model");
        insta::assert_snapshot!(outcome(&GOOD.replace("sparc64", "none")), @"the configuration FILE: `arch` is `none`, which allows only a cache of kind `physical`");
    }

    #[test]
    fn the_only_argument_is_the_file() {
        let error = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&word| word.into()).collect();
            read(&arguments).unwrap_err().to_string()
        };
        insta::assert_snapshot!(error(&[]), @"expected exactly one argument, config=FILE, but found ``");
        insta::assert_snapshot!(error(&["config=a", "trace=on"]), @"expected exactly one argument, config=FILE, but found `config=a,trace=on`");
        insta::assert_snapshot!(error(&["config=/not/there"]), @"read the configuration /not/there: No such file or directory (os error 2)");
    }
}
