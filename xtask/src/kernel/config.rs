// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's configuration: merges config fragments and checks that the result kept every option.
//!
//! `make allnoconfig` reads the merged fragments through `KCONFIG_ALLCONFIG`, so that one run of the kernel's own tool
//! suffices. `scripts/kconfig/merge_config.sh` would need several runs, and it loses the file and the line that an
//! option came from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::queue;
use crate::files;
use crate::kernel_version::Version;

/// Name of the fragment with the options that the patch queue adds to the kernel.
const QUEUE: &str = "queue.config";

/// Name of the fragment for one version of Linux, in the directory of its patch queue.
const VERSION: &str = "kernel.config";

/// One option of a config fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigOption {
    /// Name with prefix: `CONFIG_FUSE_FS`.
    pub symbol: String,
    /// Text after the `=`, or `n` for `is not set`.
    pub value: String,
    /// Path of the fragment, relative to the checkout.
    pub file: PathBuf,
    /// Line number in the fragment, from 1.
    pub line: usize,
    /// True if the option may be missing from the kernel's Kconfig files.
    pub may_be_unknown: bool,
}

/// Reads and merges the config fragments of `target` and `flavour` for kernels of `version`.
///
/// The order is common, version, queue, target, flavour, and the flavour's options for this target only. The last value
/// of an option wins. Only `common.config` is mandatory. If `queue` is false, the kernel may lack the options that the
/// patch queue adds.
///
/// # Errors
/// A fragment cannot be read, or one of its lines does not parse. The error names the file and the line.
pub(crate) fn read(
    checkout: &Path,
    version: Version,
    target: &str,
    flavour: &str,
    queue: bool,
) -> Result<Vec<ConfigOption>> {
    let dir = Path::new("kernel-configs");
    let mut options = Vec::new();
    for (path, mandatory) in [
        (dir.join("common.config"), true),
        (Path::new(queue::DIR).join(version.to_string()).join(VERSION), false),
        (dir.join(QUEUE), false),
        (dir.join(format!("{target}.config")), false),
        (dir.join(format!("flavours/{flavour}.config")), false),
        (dir.join(format!("flavours/{flavour}.{target}.config")), false),
    ] {
        match fs::read_to_string(checkout.join(&path)) {
            Ok(text) => options.extend(parse(&path, &text)?.into_iter().map(|option| {
                ConfigOption { may_be_unknown: !queue && path.ends_with(QUEUE), ..option }
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !mandatory => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        }
    }
    Ok(merge(options))
}

/// Parses the text of the fragment `file`.
///
/// # Errors
/// A line is neither an option nor a comment. The error names the file and the line.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Vec<ConfigOption>> {
    let mut options = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some((symbol, value)) = parse_line(line) {
            options.push(ConfigOption {
                symbol: symbol.to_owned(),
                value: value.to_owned(),
                file: file.to_owned(),
                line: at + 1,
                may_be_unknown: false,
            });
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            bail!(
                "{}:{}: expected `CONFIG_NAME=value`, `# CONFIG_NAME is not set` or a comment\n    {line}",
                file.display(),
                at + 1
            );
        }
    }
    Ok(options)
}

/// Returns the options that the value `argument` of `--config` sets: one option, with or without the prefix `CONFIG_`, or
/// the options in the file with that name.
///
/// # Errors
/// The argument is neither an option nor the name of a file, or a line of the file does not parse.
pub(crate) fn from_argument(argument: &str) -> Result<Vec<ConfigOption>> {
    let path = Path::new(argument);
    if path.is_file() {
        return parse(path, &files::read(path)?);
    }
    let prefix = if argument.starts_with("CONFIG_") { "" } else { "CONFIG_" };
    let line = format!("{prefix}{argument}");
    match parse_line(&line) {
        Some(_) => parse(Path::new("--config"), &line),
        None => bail!("--config {argument}: neither a file nor an option such as PACKET=y"),
    }
}

/// Returns the option and the value that a line of a fragment or a `.config` sets, or `None` for any other line.
fn parse_line(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_end();
    let unset = || line.strip_prefix("# ")?.strip_suffix(" is not set");
    let (symbol, value) = match unset() {
        Some(symbol) => (symbol, "n"),
        None => line.split_once('=')?,
    };
    let name = symbol.strip_prefix("CONFIG_")?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((symbol, value))
}

/// Keeps the last value of each option and sorts by name, so that the order of lines does not change the kernel's hash.
pub(crate) fn merge(options: Vec<ConfigOption>) -> Vec<ConfigOption> {
    let options = options.into_iter();
    let last: BTreeMap<_, _> = options.map(|option| (option.symbol.clone(), option)).collect();
    last.into_values().collect()
}

/// Returns the options in the format of a `.config`.
pub(crate) fn text(options: &[ConfigOption]) -> String {
    let line = |option: &ConfigOption| match option.value.as_str() {
        "n" => format!("# {} is not set\n", option.symbol),
        value => format!("{}={value}\n", option.symbol),
    };
    options.iter().map(line).collect()
}

/// An option whose value in the `.config` differs from that in the fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dropped<'a> {
    pub option: &'a ConfigOption,
    /// Value in the `.config`, or `n` if the `.config` does not contain the option.
    pub found: String,
}

/// Returns the options that the finished `.config` did not keep, sorted by file and line.
pub(crate) fn dropped<'a>(options: &'a [ConfigOption], dot_config: &str) -> Vec<Dropped<'a>> {
    let values: BTreeMap<&str, &str> = dot_config.lines().filter_map(parse_line).collect();
    let found = |option: &ConfigOption| {
        values.get(option.symbol.as_str()).copied().unwrap_or("n").to_owned()
    };
    let all = options.iter().map(|option| Dropped { found: found(option), option });
    let mut all: Vec<_> = all.filter(|dropped| dropped.found != dropped.option.value).collect();
    all.sort_by_key(|Dropped { option, .. }| (&option.file, option.line));
    all
}

/// Returns an error text for the dropped options, or `None` if none of them is an error. An option that may be unknown
/// is an error only if the kernel defines it. `defined` maps an option to the place of its definition, `FILE:LINE`.
pub(crate) fn describe_dropped(
    dropped: &[Dropped],
    defined: &BTreeMap<String, String>,
) -> Option<String> {
    let matters = |Dropped { option, .. }: &&Dropped| {
        !option.may_be_unknown || defined.contains_key(&option.symbol)
    };
    let mut dropped = dropped.iter().filter(matters).peekable();
    dropped.peek()?;
    let mut text =
        String::from("the kernel's .config did not keep these options of the config fragments:\n");
    for Dropped { option, found } in dropped {
        let cause = match defined.get(&option.symbol) {
            Some(place) => format!("for its dependencies see {place}"),
            None => "this kernel has no such option".to_owned(),
        };
        let (file, line, symbol) = (option.file.display(), option.line, &option.symbol);
        text.push_str(&format!(
            "  {file}:{line}: {symbol}: expected {}, found {found}; {cause}\n",
            option.value
        ));
    }
    text.push_str("Change these lines, or add the options that they depend on.");
    Some(text)
}

/// Finds the definitions of the dropped options in the Kconfig files `kconfigs` of `tree`. Maps each option to
/// `FILE:LINE`.
pub(crate) fn definitions<'a>(
    tree: &Path,
    kconfigs: impl Iterator<Item = &'a String>,
    dropped: &[Dropped],
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if dropped.is_empty() {
        return found;
    }
    for path in kconfigs {
        let text = fs::read_to_string(tree.join(path)).unwrap_or_default();
        for (at, line) in text.lines().enumerate() {
            let name = line.trim_start().strip_prefix("menuconfig ");
            let Some(name) = name.or_else(|| line.trim_start().strip_prefix("config ")) else {
                continue;
            };
            let symbol = format!("CONFIG_{}", name.trim());
            if dropped.iter().any(|dropped| dropped.option.symbol == symbol) {
                found.entry(symbol).or_insert_with(|| format!("{path}:{}", at + 1));
            }
        }
    }
    found
}

/// Returns true if one of the Kconfig files `kconfigs` of `tree` defines the option `symbol`.
pub(crate) fn defines<'a>(
    tree: &Path,
    kconfigs: impl Iterator<Item = &'a String>,
    symbol: &str,
) -> bool {
    let option = ConfigOption {
        symbol: symbol.to_owned(),
        value: String::new(),
        file: PathBuf::new(),
        line: 0,
        may_be_unknown: false,
    };
    let dropped = [Dropped { option: &option, found: String::new() }];
    !definitions(tree, kconfigs, &dropped).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn options(fragments: &[(&str, &str)]) -> Vec<ConfigOption> {
        let parsed =
            fragments.iter().flat_map(|(file, text)| parse(Path::new(file), text).unwrap());
        merge(parsed.collect())
    }

    #[test]
    fn an_argument_is_an_option_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("my.config");
        fs::write(&file, "CONFIG_NET=y\n# CONFIG_INET is not set\n").unwrap();
        let set = |argument: &str| from_argument(argument).map(|options| text(&options));
        assert_eq!(set("PACKET=y").unwrap(), "CONFIG_PACKET=y\n");
        assert_eq!(set("CONFIG_CMDLINE=\"a b\"").unwrap(), "CONFIG_CMDLINE=\"a b\"\n");
        assert_eq!(set("NET=n").unwrap(), "# CONFIG_NET is not set\n");
        assert_eq!(
            set(file.to_str().unwrap()).unwrap(),
            "CONFIG_NET=y\n# CONFIG_INET is not set\n"
        );
        for wrong in ["PACKET", "no/such.config", "a b=y"] {
            let expected =
                format!("--config {wrong}: neither a file nor an option such as PACKET=y");
            assert_eq!(set(wrong).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_last_fragment_wins() {
        let options = options(&[
            ("common.config", "# why\nCONFIG_A=y\nCONFIG_B=16\n\nCONFIG_C=y\n"),
            ("debug.config", "CONFIG_B=18\n# CONFIG_C is not set\n"),
        ]);
        assert_snapshot!(text(&options), @"
        CONFIG_A=y
        CONFIG_B=18
        # CONFIG_C is not set
        ");
        let config = "CONFIG_A=y\nCONFIG_B=18\n# CONFIG_D is not set\n";
        assert_eq!(dropped(&options, config), []);
    }

    #[test]
    fn every_dropped_option_is_named_with_its_line() {
        let options = options(&[
            (
                "kernel-configs/common.config",
                "CONFIG_A=y\nCONFIG_FUSE_DMMAP=y\n# CONFIG_SMP is not set\n",
            ),
            ("kernel-configs/x86_64.config", "CONFIG_NR_CPUS=8\n"),
        ]);
        let dropped = dropped(&options, "CONFIG_A=y\nCONFIG_NR_CPUS=2\nCONFIG_SMP=y\n");
        let defined = BTreeMap::from([
            ("CONFIG_SMP".to_owned(), "arch/x86/Kconfig:423".to_owned()),
            ("CONFIG_NR_CPUS".to_owned(), "arch/x86/Kconfig:1005".to_owned()),
        ]);
        assert_snapshot!(describe_dropped(&dropped, &defined).unwrap(), @"
        the kernel's .config did not keep these options of the config fragments:
          kernel-configs/common.config:2: CONFIG_FUSE_DMMAP: expected y, found n; this kernel has no such option
          kernel-configs/common.config:3: CONFIG_SMP: expected n, found y; for its dependencies see arch/x86/Kconfig:423
          kernel-configs/x86_64.config:1: CONFIG_NR_CPUS: expected 8, found 2; for its dependencies see arch/x86/Kconfig:1005
        Change these lines, or add the options that they depend on.
        ");
    }

    #[test]
    fn an_invalid_line_is_named() {
        let file = Path::new("kernel-configs/common.config");
        let error = parse(file, "CONFIG_A=y\nCONFIG-B=y\n").unwrap_err();
        assert_snapshot!(error, @"
        kernel-configs/common.config:2: expected `CONFIG_NAME=value`, `# CONFIG_NAME is not set` or a comment
            CONFIG-B=y
        ");
    }
}
