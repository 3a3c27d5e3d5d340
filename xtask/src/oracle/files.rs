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

/// Returns all findings of a run, each with its target and case.
pub(crate) fn findings(
    result: &RunResult,
) -> impl Iterator<Item = (&str, &CaseResult, &FindingSummary)> {
    result.targets.iter().flat_map(|target| {
        target.cases.iter().flat_map(move |case| {
            let summaries = case.oracle.iter().flat_map(|oracle| &oracle.findings);
            summaries.map(move |summary| (target.name.as_str(), case, summary))
        })
    })
}

/// Reads the story of the finding `summary`, which belongs to a `case` of the run in `run_dir`.
///
/// # Errors
/// The case did not run, or the files of its boot do not exist or do not contain the finding. The error names the file.
pub(crate) fn story(
    run_dir: &Path,
    target: &str,
    case: &CaseResult,
    summary: &FindingSummary,
) -> Result<Story> {
    Boot::read(&dir_of(run_dir, target, case)?)?.story(summary)
}

/// Reads the stories of all findings of the run in `run_dir`.
pub(crate) fn stories(run_dir: &Path, result: &RunResult) -> Stories {
    // A file contains all findings of a boot and is read only once.
    let mut boots: BTreeMap<PathBuf, Result<Boot, String>> = BTreeMap::new();
    let mut stories = Stories::new();
    for (target, case, summary) in findings(result) {
        let story = dir_of(run_dir, target, case).and_then(|dir| {
            let read = |dir: &PathBuf| Boot::read(dir).map_err(|error| format!("{error:#}"));
            let boot = boots.entry(dir).or_insert_with_key(read);
            boot.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?.story(summary)
        });
        stories.insert(summary.id.clone(), story.map_err(|error| format!("{error:#}")));
    }
    stories
}

fn dir_of(run_dir: &Path, target: &str, case: &CaseResult) -> Result<PathBuf> {
    let boot = case.boot.context("the case did not run, so it has no findings")?;
    Ok(boot_dir(run_dir, target, boot))
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

        let (target, case, summary) = findings(&run).nth(1).unwrap();
        let one = story(dir.path(), target, case, summary).unwrap();
        assert_eq!((one.finding.window, one.finding.number), (16, 2));
        assert_eq!(one.config, armv6());
    }
}
