// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's configuration: fragments merged, and checked against what came out.
//!
//! The fragments are merged here and given to `make allnoconfig` as `KCONFIG_ALLCONFIG`, which is one run of the
//! kernel's own tool; `scripts/kconfig/merge_config.sh` would need several and keeps neither the file nor the line
//! a wish came from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The fragment with what the patch queue adds to the kernel.
const QUEUE: &str = "queue.config";

/// What one line of a fragment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// `CONFIG_FUSE_FS`.
    pub symbol: String,
    /// What follows the `=`; `n` for `is not set`.
    pub value: String,
    /// The fragment, below the checkout.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: usize,
    /// Whether a kernel may have no such option at all.
    pub may_be_unknown: bool,
}

/// Reads and merges fragments: common, what the patch queue adds, target, flavour. The last word on an option wins.
/// Only `common.config` has to be there. Without `queue`, the kernel may lack what the queue adds.
///
/// # Errors
/// A fragment cannot be read, or a line in it is not one: names file and line.
pub(crate) fn read(checkout: &Path, target: &str, flavour: &str, queue: bool) -> Result<Vec<Wish>> {
    let dir = Path::new("kernel-configs");
    let mut wishes = Vec::new();
    for (name, needed) in [
        ("common.config".to_owned(), true),
        (QUEUE.to_owned(), false),
        (format!("{target}.config"), false),
        (format!("flavours/{flavour}.config"), false),
    ] {
        let path = dir.join(name);
        match fs::read_to_string(checkout.join(&path)) {
            Ok(text) => wishes.extend(parse(&path, &text)?.into_iter().map(|wish| Wish {
                may_be_unknown: !queue && path.ends_with(QUEUE),
                ..wish
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !needed => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        }
    }
    Ok(merge(wishes))
}

fn parse(file: &Path, text: &str) -> Result<Vec<Wish>> {
    let mut wishes = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some((symbol, value)) = setting(line) {
            let (symbol, value, file) = (symbol.to_owned(), value.to_owned(), file.to_owned());
            wishes.push(Wish {
                symbol,
                value,
                file,
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
    Ok(wishes)
}

/// What a line of a fragment or of a `.config` sets, if it does.
fn setting(line: &str) -> Option<(&str, &str)> {
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

/// One wish an option, in the order of their names: where a line stands makes no other kernel.
fn merge(wishes: Vec<Wish>) -> Vec<Wish> {
    let mut last = BTreeMap::new();
    for wish in wishes {
        last.insert(wish.symbol.clone(), wish);
    }
    last.into_values().collect()
}

/// The merged fragment, in the form of a `.config`.
pub(crate) fn text(wishes: &[Wish]) -> String {
    let line = |wish: &Wish| match wish.value.as_str() {
        "n" => format!("# {} is not set\n", wish.symbol),
        value => format!("{}={value}\n", wish.symbol),
    };
    wishes.iter().map(line).collect()
}

/// A wish that did not come true.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dropped<'a> {
    /// The wish.
    pub wish: &'a Wish,
    /// What the `.config` has instead; `n` where it does not name the option.
    pub got: String,
}

/// Wishes that the finished `.config` does not fulfil, in the order of files and lines.
pub(crate) fn dropped<'a>(wishes: &'a [Wish], dot_config: &str) -> Vec<Dropped<'a>> {
    let is: BTreeMap<&str, &str> = dot_config.lines().filter_map(setting).collect();
    let got = |wish: &Wish| {
        is.get(wish.symbol.as_str())
            .copied()
            .unwrap_or("n")
            .to_owned()
    };
    let all = wishes.iter().map(|wish| Dropped {
        got: got(wish),
        wish,
    });
    let mut all: Vec<_> = all
        .filter(|dropped| dropped.got != dropped.wish.value)
        .collect();
    all.sort_by_key(|Dropped { wish, .. }| (&wish.file, wish.line));
    all
}

/// What to say of dropped wishes. `defined` says where the kernel defines an option, as `FILE:LINE`.
/// `None`: nothing, all that is missing may be missing.
pub(crate) fn complaint(dropped: &[Dropped], defined: &BTreeMap<String, String>) -> Option<String> {
    let matters = |Dropped { wish, .. }: &&Dropped| {
        !wish.may_be_unknown || defined.contains_key(&wish.symbol)
    };
    let mut dropped = dropped.iter().filter(matters).peekable();
    dropped.peek()?;
    let mut text =
        String::from("the kernel's configuration does not keep what the fragments ask for:\n");
    for Dropped { wish, got } in dropped {
        let why = match defined.get(&wish.symbol) {
            Some(place) => format!("what it depends on is in {place}"),
            None => "this kernel has no such option".to_owned(),
        };
        let (file, line, symbol) = (wish.file.display(), wish.line, &wish.symbol);
        text.push_str(&format!(
            "  {file}:{line}: {symbol}: wanted {}, got {got}; {why}\n",
            wish.value
        ));
    }
    text.push_str("Change these lines, or ask for what they depend on as well.");
    Some(text)
}

/// Where below `tree` each of the options is defined; `kconfigs` are the paths of its Kconfig files.
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
            let words = line.trim_start().strip_prefix("menuconfig ");
            let Some(name) = words.or_else(|| line.trim_start().strip_prefix("config ")) else {
                continue;
            };
            let symbol = format!("CONFIG_{}", name.trim());
            if dropped.iter().any(|dropped| dropped.wish.symbol == symbol) {
                found
                    .entry(symbol)
                    .or_insert_with(|| format!("{path}:{}", at + 1));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn wishes(fragments: &[(&str, &str)]) -> Vec<Wish> {
        let parsed = fragments
            .iter()
            .flat_map(|(file, text)| parse(Path::new(file), text).unwrap());
        merge(parsed.collect())
    }

    #[test]
    fn a_later_fragment_has_the_last_word() {
        let wishes = wishes(&[
            (
                "common.config",
                "# why\nCONFIG_A=y\nCONFIG_B=16\n\nCONFIG_C=y\n",
            ),
            ("debug.config", "CONFIG_B=18\n# CONFIG_C is not set\n"),
        ]);
        assert_snapshot!(text(&wishes), @"
        CONFIG_A=y
        CONFIG_B=18
        # CONFIG_C is not set
        ");
        let config = "CONFIG_A=y\nCONFIG_B=18\n# CONFIG_D is not set\n";
        assert_eq!(dropped(&wishes, config), []);
    }

    #[test]
    fn every_dropped_option_is_named_with_its_line() {
        let wishes = wishes(&[
            (
                "kernel-configs/common.config",
                "CONFIG_A=y\nCONFIG_FUSE_DMMAP=y\n# CONFIG_SMP is not set\n",
            ),
            ("kernel-configs/x86_64.config", "CONFIG_NR_CPUS=8\n"),
        ]);
        let dropped = dropped(&wishes, "CONFIG_A=y\nCONFIG_NR_CPUS=2\nCONFIG_SMP=y\n");
        let defined = BTreeMap::from([
            ("CONFIG_SMP".to_owned(), "arch/x86/Kconfig:423".to_owned()),
            (
                "CONFIG_NR_CPUS".to_owned(),
                "arch/x86/Kconfig:1005".to_owned(),
            ),
        ]);
        assert_snapshot!(complaint(&dropped, &defined).unwrap(), @"
        the kernel's configuration does not keep what the fragments ask for:
          kernel-configs/common.config:2: CONFIG_FUSE_DMMAP: wanted y, got n; this kernel has no such option
          kernel-configs/common.config:3: CONFIG_SMP: wanted n, got y; what it depends on is in arch/x86/Kconfig:423
          kernel-configs/x86_64.config:1: CONFIG_NR_CPUS: wanted 8, got 2; what it depends on is in arch/x86/Kconfig:1005
        Change these lines, or ask for what they depend on as well.
        ");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let file = Path::new("kernel-configs/common.config");
        let error = parse(file, "CONFIG_A=y\nCONFIG-B=y\n").unwrap_err();
        assert_snapshot!(error, @"
        kernel-configs/common.config:2: expected `CONFIG_NAME=value`, `# CONFIG_NAME is not set` or a comment
            CONFIG-B=y
        ");
    }
}
