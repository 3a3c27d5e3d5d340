// SPDX-License-Identifier: MIT OR Apache-2.0
//! Excuses: findings that are known and accepted, from `oracle/excused.yaml`.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Deserialize;

use super::line::{Access, By, Finding, FindingKind};
use crate::yaml;

/// Path of the file in the checkout.
pub(crate) const FILE: &str = "oracle/excused.yaml";

/// Word that stands for the code of any process.
const PROCESS: &str = "process";

/// An entry of the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Excuse {
    /// Name in reports.
    pub name: String,
    /// The function that is responsible for the earlier access of the finding, or `process`.
    pub earlier: String,
    /// The function that is responsible for the later access, or `process`.
    pub later: String,
    /// Kinds of findings. All kinds if the list is empty.
    #[serde(default)]
    pub kinds: Vec<FindingKind>,
    /// Targets on which the excuse holds.
    pub targets: Vec<String>,
    /// Reason, in words.
    pub reason: String,
    /// Source files that show it.
    pub source: String,
    /// Cases in which the oracle must make the finding at depth `full`: IDs, or names of suites. If it watches one of
    /// them and makes the finding in no case, the entry is reported as unused.
    #[serde(default)]
    pub seen_in: Vec<String>,
}

impl Excuse {
    /// Returns true if the excuse covers a finding.
    fn covers(&self, finding: &Finding) -> bool {
        let is = |access: &Access, name: &str| match access.by {
            By::Process => name == PROCESS,
            By::Kernel => access.culprit.as_deref() == Some(name),
        };
        (self.kinds.is_empty() || self.kinds.contains(&finding.kind))
            && is(&finding.earlier, &self.earlier)
            && is(&finding.later, &self.later)
    }

    /// Returns true if the oracle must make the finding in a case.
    fn is_expected_in(&self, case: &str) -> bool {
        let mut names = self.seen_in.iter();
        names.any(|name| case == name || case.split('/').next() == Some(name.as_str()))
    }
}

/// Reads the excuses of all targets.
///
/// # Errors
/// The file cannot be read, or an entry names no function or no target.
pub(crate) fn read(checkout: &Path) -> Result<Vec<Excuse>> {
    let path = checkout.join(FILE);
    let excuses: Vec<Excuse> = yaml::read(&path)?;
    for excuse in &excuses {
        if excuse.earlier == PROCESS && excuse.later == PROCESS {
            bail!(
                "{}: {}: `earlier` or `later` must name a function of the kernel",
                path.display(),
                excuse.name
            );
        }
        if excuse.targets.is_empty() {
            bail!("{}: {}: `targets` is empty", path.display(), excuse.name);
        }
    }
    Ok(excuses)
}

/// Keeps the excuses that hold on a target.
pub(crate) fn of_target(excuses: Vec<Excuse>, target: &str) -> Vec<Excuse> {
    let holds = |excuse: &Excuse| excuse.targets.iter().any(|name| name == target);
    excuses.into_iter().filter(holds).collect()
}

/// Returns the excuse that covers a finding.
pub(crate) fn find<'e>(excuses: &'e [Excuse], finding: &Finding) -> Option<&'e Excuse> {
    excuses.iter().find(|excuse| excuse.covers(finding))
}

/// Returns the excuses that excused nothing although the oracle watched a case in which it must make the finding.
/// `watched` are the IDs of all watched cases, and `used` the names of the excuses that excused something.
pub(crate) fn unused<'e>(
    excuses: &'e [Excuse],
    watched: &[&str],
    used: &[&str],
) -> Vec<&'e Excuse> {
    let expected = |excuse: &&Excuse| watched.iter().any(|case| excuse.is_expected_in(case));
    let excuses = excuses.iter().filter(|excuse| !used.contains(&excuse.name.as_str()));
    excuses.filter(expected).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::line::tests::finding;
    use super::*;

    /// Returns an excuse for a process that loads what `update_vsyscall` stored.
    pub(crate) fn time() -> Excuse {
        Excuse {
            name: "time-page".into(),
            earlier: "update_vsyscall".into(),
            later: PROCESS.into(),
            kinds: Vec::new(),
            targets: vec!["armv6".into()],
            reason: "A process may read a time that is slightly old.".into(),
            source: "arch/sparc/vdso/vma.c".into(),
            seen_in: vec!["smoke".into(), "coherency/clock.fuse".into()],
        }
    }

    /// Returns a finding that [`time`] covers.
    pub(crate) fn excused(window: u32, number: u32) -> Finding {
        let mut finding = finding(window, number);
        finding.earlier.by = By::Kernel;
        finding.earlier.culprit = Some("update_vsyscall".into());
        finding
    }

    #[test]
    fn an_excuse_covers_findings_with_its_functions_and_kinds() {
        let covers = |change: fn(&mut Excuse), finding: &Finding| {
            let mut excuse = time();
            change(&mut excuse);
            excuse.covers(finding)
        };
        assert!(covers(|_| {}, &excused(16, 1)));
        assert!(covers(|excuse| excuse.kinds = vec![FindingKind::DirtyElsewhere], &excused(16, 1)));
        assert!(!covers(|excuse| excuse.kinds = vec![FindingKind::LostWrite], &excused(16, 1)));
        assert!(!covers(|excuse| excuse.earlier = "memcpy".into(), &excused(16, 1)));
        assert!(!covers(|excuse| excuse.later = "pipe_read".into(), &excused(16, 1)));
        assert!(!covers(|_| {}, &finding(16, 1)));
        let (armv6, parisc) = (of_target(vec![time()], "armv6"), of_target(vec![time()], "parisc"));
        assert_eq!((armv6.len(), parisc.len()), (1, 0));
    }

    #[test]
    fn an_excuse_is_unused_if_a_case_that_needs_it_does_not() {
        let all = [time()];
        let unused = |watched: &[&str], used: &[&str]| unused(&all, watched, used).len();
        assert_eq!(unused(&["smoke/boot"], &[]), 1);
        assert_eq!(unused(&["smoke/boot"], &["time-page"]), 0);
        assert_eq!(unused(&["coherency/clock.fuse"], &[]), 1);
        assert_eq!(unused(&["coherency/ping-pong.fuse"], &[]), 0);
    }

    #[test]
    fn the_file_names_existing_targets_and_cases() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for excuse in read(&root).unwrap() {
            for target in &excuse.targets {
                let file = root.join(format!("kernel-configs/{target}.yaml"));
                assert!(file.is_file(), "{}: {target}", excuse.name);
            }
            for case in &excuse.seen_in {
                let (suite, name) = case.split_once('/').unwrap_or((case, ""));
                let text = std::fs::read_to_string(root.join(format!("suites/{suite}.yaml")));
                let name = name.split('.').next().unwrap();
                let entry = format!("- name: {name}");
                let exists = text.is_ok_and(|text| {
                    name.is_empty() || text.lines().any(|line| line.trim() == entry)
                });
                assert!(exists, "{}: {case}", excuse.name);
            }
        }
    }

    #[test]
    fn an_entry_without_a_function_or_a_target_is_rejected() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("oracle")).unwrap();
        let error = |earlier: &str, targets: &str| {
            let text = format!(
                "- {{name: n, earlier: {earlier}, later: process, targets: {targets}, reason: r, source: s}}\n"
            );
            std::fs::write(dir.path().join(FILE), text).unwrap();
            let error = read(dir.path()).unwrap_err().to_string();
            error.replace(&*dir.path().to_string_lossy(), "DIR")
        };
        insta::assert_snapshot!(error("process", "[armv6]"), @"DIR/oracle/excused.yaml: n: `earlier` or `later` must name a function of the kernel");
        insta::assert_snapshot!(error("memcpy", "[]"), @"DIR/oracle/excused.yaml: n: `targets` is empty");
    }
}
