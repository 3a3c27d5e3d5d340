// SPDX-License-Identifier: MIT OR Apache-2.0
//! Versions of Linux: those that the lab has a patch queue for, read from `kernel-patches/VERSION/kernel.yaml`, and
//! ranges of versions that a patch is for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, bail};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{files, promise, yaml};

/// Name of the file that describes a version, in the directory of its patch queue.
pub(crate) const FILE: &str = "kernel.yaml";

/// Name of the file that limits patches of the same directory to some versions.
pub(crate) const RANGES: &str = "versions.yaml";

/// Version of Linux, as `VERSION` and `PATCHLEVEL` in the Makefile of the source: `6.12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    major: u32,
    minor: u32,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| -> Option<u32> {
            let parsed = digits.parse().ok()?;
            // Only one text stands for a version, because directories have its name.
            (digits == format!("{parsed}")).then_some(parsed)
        };
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self { major: number(major)?, minor: number(minor)? })
        };
        parse().ok_or_else(|| format!("{text:?}: expected two numbers with a dot between them"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl JsonSchema for Version {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = "(0|[1-9][0-9]*)";
        json_schema!({ "type": "string", "pattern": format!("^{number}\\.{number}$") })
    }
}

/// A version of Linux that has a patch queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelVersion {
    /// Version for `--kernel`, in quotes; also the name of the directory.
    pub version: Version,
    /// Description in one line, for `cargo xtask list`.
    pub about: String,
    /// True for the version that is used without `--kernel`. Exactly one version must have it.
    #[serde(default)]
    pub default: bool,
    /// Reason why the patch queue is incomplete. `--kernel all` and the jobs for CI leave out such a version.
    #[serde(default)]
    #[schemars(regex(pattern = r"\S"))]
    pub incomplete: Option<String>,
    /// Debian's source package.
    pub package: String,
    /// Suites of Debian's archive that have the package, such as `trixie-backports`. They are used on machines whose own
    /// package sources do not have it.
    #[serde(default)]
    pub suites: Vec<String>,
    /// Stacks of the patch queue, by name: one for each heading of `series`.
    #[serde(default)]
    pub stacks: BTreeMap<String, StackSpec>,
    /// Names of the targets on which CI tests the version after each push. A nightly job tests the others. Absent if each
    /// push tests all targets.
    #[serde(default)]
    pub push: Option<Vec<String>>,
    /// Upstream commit of the release that Debian's source is built from, for `cargo xtask queue mail`.
    #[serde(default)]
    pub base_commit: Option<BaseCommit>,
}

/// Upstream commit of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaseCommit {
    /// The release, as in the Makefile of the source: `6.12.117`.
    pub release: String,
    /// Hash of the commit: 40 hexadecimal digits.
    #[schemars(regex(pattern = "^[0-9a-f]{40}$"))]
    pub hash: String,
}

/// A stack of the patch queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StackSpec {
    /// Numbers of the promises in `docs/interface.md` that the stack keeps, together with the stacks that it needs.
    #[schemars(inner(range(min = 1, max = promise::TITLES.len())))]
    pub promises: Vec<u8>,
}

/// Stacks that a kernel contains, of all stacks of its version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AppliedStacks {
    /// Version of the kernel.
    pub kernel: KernelVersion,
    /// Names of the stacks that the kernel contains.
    pub names: Vec<String>,
}

impl AppliedStacks {
    /// Returns the reason why the kernel does not keep all of `promises`, if there is one.
    pub(crate) fn unkept(&self, promises: &[u8]) -> Option<String> {
        let reasons: Vec<String> =
            promises.iter().filter_map(|promise| self.reason(*promise)).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Returns the reason why the kernel does not keep `promise`, if it does not.
    fn reason(&self, promise: u8) -> Option<String> {
        let keeping =
            self.kernel.stacks.iter().filter(|(_, stack)| stack.promises.contains(&promise));
        let keeping: Vec<&str> = keeping.map(|(name, _)| name.as_str()).collect();
        if self.names.iter().any(|name| keeping.contains(&name.as_str())) {
            return None;
        }
        Some(match keeping.as_slice() {
            [] => format!("no stack of Linux {} keeps promise {promise}", self.kernel.version),
            stacks => format!("promise {promise} needs the stack {}", stacks.join(" or ")),
        })
    }
}

/// Reads the description of every version in `dir`, in ascending order.
///
/// # Errors
/// A file does not parse, its version differs from the name of its directory, a stack keeps an unknown promise, the hash
/// of the base commit is not a hash, or there is not exactly one default.
pub(crate) fn load_all(dir: &Path) -> Result<Vec<KernelVersion>> {
    let mut versions = Vec::new();
    for queue in files::in_dir(dir)? {
        let path = queue.join(FILE);
        if !path.is_file() {
            continue;
        }
        let kernel: KernelVersion = yaml::read(&path)?;
        let version = kernel.version;
        if queue.file_name().is_none_or(|name| *name != *version.to_string()) {
            bail!(
                "{}: this file describes Linux {version}: rename its directory to {version}, or change `version`",
                path.display()
            );
        }
        check_promises(&kernel, &path)?;
        check_base_commit(&kernel, &path)?;
        versions.push(kernel);
    }
    versions.sort_by_key(|kernel| kernel.version);
    let defaults: Vec<&KernelVersion> = versions.iter().filter(|kernel| kernel.default).collect();
    match defaults.as_slice() {
        [default] if default.incomplete.is_none() => Ok(versions),
        [default] => {
            bail!("{}: the default, {}, must not be incomplete", dir.display(), default.version)
        }
        defaults => bail!(
            "{}: `default: true` is in {} files named {FILE}; expected one",
            dir.display(),
            defaults.len()
        ),
    }
}

/// Checks that the targets in `push` of each version exist. `targets` are the names of all targets.
///
/// # Errors
/// A target does not exist. The error lists the existing ones.
pub(crate) fn check_push(kernels: &[KernelVersion], targets: &[&str]) -> Result<()> {
    for kernel in kernels {
        let mut push = kernel.push.iter().flatten();
        if let Some(unknown) = push.find(|name| !targets.contains(&name.as_str())) {
            bail!(
                "{FILE} of Linux {}: push: {unknown}: no such target; choose one of: {}",
                kernel.version,
                targets.join(", ")
            );
        }
    }
    Ok(())
}

/// Checks that the promises of each stack exist. `path` is the file that describes the version.
fn check_promises(kernel: &KernelVersion, path: &Path) -> Result<()> {
    for (name, stack) in &kernel.stacks {
        if let Some(promise) = stack.promises.iter().find(|p| promise::title(**p).is_none()) {
            bail!(
                "{}: stacks: {name}: promise {promise}: no such promise; choose one of: 1 to {}",
                path.display(),
                promise::TITLES.len()
            );
        }
    }
    Ok(())
}

/// Checks that the hash of the base commit is complete. `path` is the file that describes the version.
fn check_base_commit(kernel: &KernelVersion, path: &Path) -> Result<()> {
    let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    match &kernel.base_commit {
        Some(BaseCommit { hash, .. }) if hash.len() != 40 || !hash.chars().all(is_digit) => bail!(
            "{}: base_commit: hash: {hash:?}: expected the 40 hexadecimal digits of a commit",
            path.display()
        ),
        _ => Ok(()),
    }
}

/// Returns the versions that `names` select: versions, or `all` for those whose queue is complete. Without names,
/// returns the default. Each version appears once, in the order of its first selection.
///
/// # Errors
/// There is no such version. The error lists the existing ones.
pub(crate) fn select<'v>(
    versions: &'v [KernelVersion],
    names: &[String],
) -> Result<Vec<&'v KernelVersion>> {
    if names.is_empty() {
        return Ok(versions.iter().filter(|kernel| kernel.default).collect());
    }
    let mut selected: Vec<&KernelVersion> = Vec::new();
    for name in names {
        let matches = |kernel: &&KernelVersion| match name.as_str() {
            "all" => kernel.incomplete.is_none(),
            name => kernel.version.to_string() == name,
        };
        let matching: Vec<&KernelVersion> = versions.iter().filter(matches).collect();
        if matching.is_empty() {
            let existing: Vec<_> = versions.iter().map(|k| k.version.to_string()).collect();
            bail!("--kernel {name}: no such version; choose one of: {}, all", existing.join(", "));
        }
        for kernel in matching {
            if !selected.contains(&kernel) {
                selected.push(kernel);
            }
        }
    }
    Ok(selected)
}

/// Range of versions that a patch is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionRange {
    /// First version, in quotes. Absent if the patch is for all earlier versions too.
    #[serde(default)]
    pub from: Option<Version>,
    /// First version that the patch is no longer for, in quotes. Absent if it is for all later versions too.
    #[serde(default)]
    pub before: Option<Version>,
}

impl VersionRange {
    /// Returns true if the patch is for `version`.
    pub(crate) fn contains(self, version: Version) -> bool {
        self.from.is_none_or(|from| from <= version)
            && self.before.is_none_or(|before| version < before)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.before) {
            (None, None) => f.write_str("every Linux"),
            (Some(from), None) => write!(f, "Linux {from} and later"),
            (None, Some(before)) => write!(f, "Linux before {before}"),
            (Some(from), Some(before)) => write!(f, "Linux from {from}, before {before}"),
        }
    }
}

/// Ranges of the patches in a directory, by file name: the content of `versions.yaml`. A patch without an entry is for
/// every version.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct PatchRanges(BTreeMap<String, VersionRange>);

impl PatchRanges {
    /// Reads `versions.yaml` in `dir`. Without that file, every patch is for every version.
    ///
    /// # Errors
    /// The file does not parse, or names a patch that does not exist.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(RANGES);
        let Some(text) = files::read_if_exists(&path)? else {
            return Ok(Self::default());
        };
        let ranges: Self = yaml::parse(&text, &path)?;
        if let Some(missing) = ranges.0.keys().find(|patch| !dir.join(patch).is_file()) {
            bail!("{}: {missing} does not exist in this directory", path.display());
        }
        Ok(ranges)
    }

    /// Returns the range of the patch with the file name `patch`.
    pub(crate) fn of(&self, patch: &str) -> VersionRange {
        self.0.get(patch).copied().unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// Returns the description of a version for the tests of other modules.
    pub(crate) fn kernel(version: &str, default: bool) -> KernelVersion {
        KernelVersion {
            version: version.parse().unwrap(),
            about: "for tests".into(),
            default,
            incomplete: None,
            package: format!("linux-source-{version}"),
            suites: Vec::new(),
            stacks: BTreeMap::new(),
            push: None,
            base_commit: None,
        }
    }

    /// Returns the stacks `applied` of a version whose stacks are `core`, `load-save` and `lazy`.
    pub(crate) fn applied_stacks(applied: &[&str]) -> AppliedStacks {
        let stacks = [("core", vec![1, 2, 10]), ("load-save", vec![9]), ("lazy", vec![8, 9])];
        let stacks = stacks.map(|(name, promises)| (name.to_owned(), StackSpec { promises }));
        let kernel = KernelVersion { stacks: stacks.into(), ..kernel("6.12", true) };
        AppliedStacks { kernel, names: names(applied) }
    }

    fn names(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn a_version_is_two_numbers() {
        let version = |text: &str| text.parse::<Version>();
        assert_eq!(version("6.12").unwrap().to_string(), "6.12");
        assert!(version("6.9").unwrap() < version("6.12").unwrap());
        assert!(version("6.12").unwrap() < version("7.3").unwrap());
        for text in ["", "6", "6.", ".12", "6.12.1", "6.012", "+6.12", "v6.12", "6.x"] {
            assert!(version(text).is_err(), "{text:?}");
        }
        insta::assert_snapshot!(version("next").unwrap_err(), @r#""next": expected two numbers with a dot between them"#);
    }

    #[test]
    fn the_schema_accepts_the_versions_that_parse() {
        let schema = Version::json_schema(&mut SchemaGenerator::default());
        let pattern = schema.get("pattern").and_then(|value| value.as_str()).unwrap();
        let pattern = regex::Regex::new(pattern).unwrap();
        for text in ["6.12", "7.0", "0.1", "6", "6.", "6.12.1", "6.012", "+6.12", "v6.12"] {
            assert_eq!(pattern.is_match(text), text.parse::<Version>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn every_version_in_the_tree_parses() {
        let all = load_all(&crate::paths::checkout().join("kernel-patches")).unwrap();
        assert!(select(&all, &[]).unwrap()[0].default);
    }

    #[test]
    fn names_select_versions_once_and_in_order() {
        let incomplete =
            KernelVersion { incomplete: Some("not ported".into()), ..kernel("8.0", false) };
        let all = [kernel("6.12", true), kernel("7.3", false), incomplete];
        let selected = |words: &[&str]| -> Vec<String> {
            let selected = select(&all, &names(words)).unwrap();
            selected.iter().map(|kernel| kernel.version.to_string()).collect()
        };
        assert_eq!(selected(&[]), ["6.12"]);
        assert_eq!(selected(&["7.3", "all"]), ["7.3", "6.12"]);
        assert_eq!(selected(&["8.0", "8.0"]), ["8.0"]);
        let error = select(&all, &names(&["6.1"])).unwrap_err();
        insta::assert_snapshot!(error, @"--kernel 6.1: no such version; choose one of: 6.12, 7.3, 8.0, all");
    }

    /// Loads the versions in a directory that has a `kernel.yaml` for each pair of directory and content.
    fn load(queues: &[(&str, &str)]) -> Result<Vec<KernelVersion>, String> {
        let dir = tempfile::tempdir().unwrap();
        for (queue, text) in queues {
            fs::create_dir(dir.path().join(queue)).unwrap();
            fs::write(dir.path().join(queue).join(FILE), text).unwrap();
        }
        let path = dir.path().to_string_lossy();
        load_all(dir.path()).map_err(|error| format!("{error:#}").replace(&*path, "DIR"))
    }

    #[test]
    fn wrong_descriptions_are_rejected() {
        let one = "{ version: \"6.12\", about: x, package: x, default: true }";
        let two = "{ version: \"7.3\", about: x, package: x }";
        let loaded = load(&[("7.3", two), ("6.12", one)]).unwrap();
        let versions: Vec<String> = loaded.iter().map(|k| k.version.to_string()).collect();
        assert_eq!(versions, ["6.12", "7.3"]);
        let error = |queues: &[(&str, &str)]| load(queues).unwrap_err();
        insta::assert_snapshot!(error(&[("6.12", one), ("7.4", two)]), @"DIR/7.4/kernel.yaml: this file describes Linux 7.3: rename its directory to 7.3, or change `version`");
        insta::assert_snapshot!(error(&[("7.3", two)]), @"DIR: `default: true` is in 0 files named kernel.yaml; expected one");
        let incomplete = one.replace(" }", ", incomplete: not ported }");
        insta::assert_snapshot!(error(&[("6.12", &incomplete)]), @"DIR: the default, 6.12, must not be incomplete");
        let long = one.replace("6.12", "6.12.1");
        insta::assert_snapshot!(error(&[("6.12.1", &long)]), @r#"
        DIR/6.12.1/kernel.yaml:1:1: "6.12.1": expected two numbers with a dot between them
            { version: "6.12.1", about: x, package: x, default: true }
        "#);
    }

    #[test]
    fn a_promise_without_an_applied_stack_is_a_reason_to_skip() {
        let core = applied_stacks(&["core"]);
        assert_eq!(core.unkept(&[]), None);
        assert_eq!(core.unkept(&[1, 10]), None);
        let reason = |stacks: &AppliedStacks, promises: &[u8]| stacks.unkept(promises).unwrap();
        insta::assert_snapshot!(reason(&core, &[1, 8, 9]), @"promise 8 needs the stack lazy; promise 9 needs the stack lazy or load-save");
        insta::assert_snapshot!(reason(&core, &[2, 12]), @"no stack of Linux 6.12 keeps promise 12");
        let both = applied_stacks(&["core", "load-save"]);
        assert_eq!(both.unkept(&[1, 9]), None);
        insta::assert_snapshot!(reason(&both, &[8, 9]), @"promise 8 needs the stack lazy");
    }

    #[test]
    fn a_stack_keeps_promises_that_exist() {
        let one = "{ version: \"6.12\", about: x, package: x, default: true, stacks: STACKS }";
        let with = |stacks: &str| load(&[("6.12", &one.replace("STACKS", stacks))]);
        let loaded = with("{ fixes: { promises: [] }, core: { promises: [1, 2] } }").unwrap();
        assert_eq!(loaded[0].stacks["core"].promises, [1, 2]);
        let error = with("{ core: { promises: [1, 99] } }").unwrap_err();
        let error = error.trim_end_matches(|c: char| c.is_ascii_digit());
        insta::assert_snapshot!(error, @"DIR/6.12/kernel.yaml: stacks: core: promise 99: no such promise; choose one of: 1 to");
    }

    #[test]
    fn targets_in_push_exist() {
        let push = |targets: &[&str]| {
            let limited = KernelVersion { push: Some(names(targets)), ..kernel("7.3", false) };
            check_push(&[kernel("6.12", true), limited], &["mips", "x86_64"])
        };
        push(&["x86_64"]).unwrap();
        push(&[]).unwrap();
        insta::assert_snapshot!(push(&["x86_64", "vax"]).unwrap_err(), @"kernel.yaml of Linux 7.3: push: vax: no such target; choose one of: mips, x86_64");
    }

    #[test]
    fn the_hash_of_a_base_commit_is_complete() {
        let one = "{ version: \"6.12\", about: x, package: x, default: true, \
                   base_commit: { release: 6.12.117, hash: \"HASH\" } }";
        let with = |hash: &str| load(&[("6.12", &one.replace("HASH", hash))]);
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let loaded = with(hash).unwrap();
        let base = BaseCommit { release: "6.12.117".into(), hash: hash.into() };
        assert_eq!(loaded[0].base_commit, Some(base));
        insta::assert_snapshot!(with("0123456").unwrap_err(), @r#"DIR/6.12/kernel.yaml: base_commit: hash: "0123456": expected the 40 hexadecimal digits of a commit"#);
    }

    #[test]
    fn a_range_includes_its_first_version_and_ends_before_its_last() {
        let range = |text: &str| -> VersionRange { yaml::parse(text, Path::new("x")).unwrap() };
        let texts = [
            "{}",
            "{ from: \"6.12\" }",
            "{ before: \"7.3\" }",
            "{ from: \"6.12\", before: \"7.3\" }",
        ];
        let rows = texts.map(|text| {
            let versions = ["6.9", "6.12", "7.0", "7.3"].map(|v| v.parse::<Version>().unwrap());
            let within = versions.iter().filter(|v| range(text).contains(**v));
            let within: Vec<String> = within.map(Version::to_string).collect();
            format!("{}: {}", range(text), within.join(" "))
        });
        insta::assert_snapshot!(rows.join("\n"), @r"
        every Linux: 6.9 6.12 7.0 7.3
        Linux 6.12 and later: 6.12 7.0 7.3
        Linux before 7.3: 6.9 6.12 7.0
        Linux from 6.12, before 7.3: 6.12 7.0
        ");
    }

    #[test]
    fn a_patch_without_an_entry_is_for_every_version() {
        let dir = tempfile::tempdir().unwrap();
        let version: Version = "6.12".parse().unwrap();
        let load = || PatchRanges::load(dir.path());
        assert!(load().unwrap().of("a.patch").contains(version));
        fs::write(dir.path().join(RANGES), "a.patch: { from: \"7.3\" }\n").unwrap();
        let error = load().unwrap_err().to_string();
        let error = error.replace(&*dir.path().to_string_lossy(), "DIR");
        insta::assert_snapshot!(error, @"DIR/versions.yaml: a.patch does not exist in this directory");
        fs::write(dir.path().join("a.patch"), "").unwrap();
        assert!(!load().unwrap().of("a.patch").contains(version));
        assert!(load().unwrap().of("b.patch").contains(version));
    }
}
