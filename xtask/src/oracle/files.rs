// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files: reads the findings of a run from the files of its boots.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Config;
use super::kallsyms::{self, Kallsyms};
use super::line::{Finding, Message};
use crate::results::{CaseResult, FindingSummary, RunResult};
use crate::run_dir::{GUEST_FILES, ORACLE_CONFIG, ORACLE_FINDINGS, boot_dir};

/// A finding with its accesses, and the configuration of the oracle.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub finding: Finding,
    pub config: Config,
}

/// Stories of a run by the IDs of their findings. A story that cannot be read is replaced by the reason.
pub(crate) type Stories = BTreeMap<String, Result<Story, String>>;

/// A finding in the results of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundIn<'r> {
    /// Name of the target, with the version of its kernel.
    pub target: &'r str,
    pub case: &'r CaseResult,
    /// Number of the boot. `None` if the case did not run; it then has no findings.
    pub boot: Option<usize>,
    pub summary: &'r FindingSummary,
}

impl FoundIn<'_> {
    /// Reads the story of the finding from the files of the run in `run_dir`.
    ///
    /// # Errors
    /// The files of the boot do not exist or do not contain the finding. The error names the file.
    pub(crate) fn story(&self, run_dir: &Path) -> Result<Story> {
        Boot::read(&self.dir(run_dir)?)?.story(self.summary)
    }

    /// Returns the directory of the boot.
    fn dir(&self, run_dir: &Path) -> Result<PathBuf> {
        let boot = self.boot.context("the case did not run, so it has no findings")?;
        Ok(boot_dir(run_dir, self.target, boot))
    }
}

/// Returns all findings of a run, also of attempts of a case that ran more than once.
pub(crate) fn findings(result: &RunResult) -> impl Iterator<Item = FoundIn<'_>> {
    result.targets.iter().flat_map(|target| {
        target.cases.iter().flat_map(move |case| {
            let attempts = case.failed_attempts.iter();
            let attempts = attempts.map(|attempt| (attempt.boot, &attempt.oracle));
            // The result of a case that failed is also the first of its failed attempts.
            let own = (case.failed_attempts.is_empty() || !case.verdict.is_failure())
                .then_some((case.boot, &case.oracle));
            own.into_iter().chain(attempts).flat_map(move |(boot, oracle)| {
                let summaries = oracle.iter().flat_map(|oracle| &oracle.findings);
                summaries.map(move |summary| FoundIn { target: &target.name, case, boot, summary })
            })
        })
    })
}

/// Reads the stories of all findings of the run in `run_dir`.
pub(crate) fn stories(run_dir: &Path, result: &RunResult) -> Stories {
    // A file contains all findings of a boot and is read only once.
    let mut boots: BTreeMap<PathBuf, Result<Boot, String>> = BTreeMap::new();
    let mut stories = Stories::new();
    for found in findings(result) {
        let story = found.dir(run_dir).and_then(|dir| {
            let read = |dir: &PathBuf| Boot::read(dir).map_err(|error| format!("{error:#}"));
            let boot = boots.entry(dir).or_insert_with_key(read);
            boot.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?.story(found.summary)
        });
        stories.insert(found.summary.id.clone(), story.map_err(|error| format!("{error:#}")));
    }
    stories
}

/// Configuration and findings of the oracle in one boot.
struct Boot {
    config: Config,
    file: PathBuf,
    findings: BTreeMap<(u32, u32), Finding>,
}

impl Boot {
    fn read(dir: &Path) -> Result<Self> {
        let config = dir.join(ORACLE_CONFIG);
        let config: Config = serde_json::from_str(&text(&config)?)
            .with_context(|| format!("read {}", config.display()))?;
        let file = dir.join(ORACLE_FINDINGS);
        let text = text(&file)?;
        let findings = text.lines().filter_map(|line| match serde_json::from_str(line) {
            Ok(Message::Finding(finding)) => Some(((finding.window, finding.number), *finding)),
            _ => None,
        });
        let mut findings: BTreeMap<(u32, u32), Finding> = findings.collect();
        if let Ok(text) = fs::read_to_string(dir.join(GUEST_FILES).join(kallsyms::FILE)) {
            let kallsyms = Kallsyms::parse(&text);
            let arch = config.arch;
            findings.values_mut().for_each(|finding| kallsyms.complete(finding, arch));
        }
        Ok(Self { config, findings, file })
    }

    fn story(&self, summary: &FindingSummary) -> Result<Story> {
        let finding = self.findings.get(&(summary.window, summary.number));
        let finding = finding.with_context(|| {
            let (file, number, window) = (self.file.display(), summary.number, summary.window);
            format!("{file} has no finding {number} in window {window}")
        })?;
        Ok(Story { finding: finding.clone(), config: self.config.clone() })
    }
}

fn text(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| {
        format!(
            "read {}; accesses are stored only in the files of the boot, on the machine of the run",
            file.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::armv6;
    use super::super::line::tests;
    use super::*;
    use crate::report::samples;

    #[test]
    fn stories_are_read_from_the_files_of_the_boots() {
        let dir = tempfile::tempdir().unwrap();
        let run = samples::watched();
        let texts = |stories: &Stories| -> Vec<String> {
            let texts = stories.values().map(|story| match story {
                Ok(story) => format!("number {}", story.finding.number),
                Err(why) => why.replace(&*dir.path().to_string_lossy(), "RUN"),
            });
            texts.collect()
        };
        let gone = texts(&stories(dir.path(), &run));
        insta::assert_snapshot!(gone[0], @"read RUN/armv6/boot-1/oracle.json; accesses are stored only in the files of the boot, on the machine of the run: No such file or directory (os error 2)");
        assert_eq!(gone[0], gone[1]);

        let boot = boot_dir(dir.path(), "armv6", 1);
        fs::create_dir_all(&boot).unwrap();
        fs::write(boot.join(ORACLE_CONFIG), armv6().render()).unwrap();
        let lines = [tests::trusted(), tests::found(16, 2), tests::found(17, 1)].join("\n");
        fs::write(boot.join(ORACLE_FINDINGS), lines).unwrap();
        insta::assert_snapshot!(texts(&stories(dir.path(), &run)).join("\n"), @"
        RUN/armv6/boot-1/oracle.jsonl has no finding 1 in window 16
        number 2
        ");

        let one = findings(&run).nth(1).unwrap().story(dir.path()).unwrap();
        assert_eq!((one.finding.window, one.finding.number), (16, 2));
        assert_eq!(one.config, armv6());
    }

    #[test]
    fn findings_of_all_attempts_are_listed_once() {
        let run = samples::retried();
        let found =
            findings(&run).map(|found| format!("boot {:?} {}", found.boot, found.summary.id));
        insta::assert_snapshot!(found.collect::<Vec<_>>().join("\n"), @"
        boot Some(2) armv6/coherency/ping-pong.fuse/1
        boot Some(2) armv6/coherency/ping-pong.fuse/2
        ");
    }
}
