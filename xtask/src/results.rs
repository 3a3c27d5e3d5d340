// SPDX-License-Identifier: MIT OR Apache-2.0
//! Verdicts and results: the content of `results.json`. Doc comments of the fields become descriptions in its JSON
//! schema.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use protocol::curve::Curve;
use protocol::record::EXIT_CODE;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};

/// Layout version of [`RunResult`] in `results.json`.
pub const SCHEMA: u32 = 8;

/// Outcome of a case.
#[derive(
    Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantNames,
)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Verdict {
    /// A whole record reported that every check held, and the kernel printed no warning.
    Pass,
    /// A check failed, a process died, something leaked, the kernel printed a warning, or the oracle found an access that
    /// may get stale data.
    Fail {
        /// Expected and observed behaviour.
        reason: String,
    },
    /// The case cannot hold on this target, or with the applied stacks of the patch queue.
    Skip {
        /// Reason, from the suite or from the case itself.
        reason: String,
    },
    /// The kernel crashed while the case ran.
    Crash {
        /// Console line that reported the crash.
        marker: String,
    },
    /// A deadline passed, or the guest was silent for too long.
    Timeout {
        /// Step that took too long.
        phase: Phase,
        /// Processes that hung and the functions of the kernel in which they waited, or the function of the kernel that
        /// ran. Absent (`null`) if neither the log nor the console shows it.
        place: Option<String>,
    },
    /// The guest sent no record.
    BootFail {
        /// Cause, such as a crash of the kernel.
        reason: String,
    },
    /// The lab failed, or no whole record of the case arrived. The case shows nothing about the kernel.
    Infra {
        /// Problem, and how to solve it.
        reason: String,
    },
    /// The run was interrupted, or stopped early, before the case had ended.
    NotRun {
        /// Reason for the end of the run.
        reason: String,
    },
}

impl Verdict {
    /// Words of all verdicts that a case which has ended can have, in the order of tables.
    pub(crate) const WORDS: &[&str] = Self::VARIANTS.split_at(Self::VARIANTS.len() - 1).0;

    pub(crate) fn fail(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Verdict::Fail { reason }
    }

    pub(crate) fn infra(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Verdict::Infra { reason }
    }

    pub(crate) fn not_run(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Verdict::NotRun { reason }
    }

    /// Returns true if the case neither passed nor was skipped, and had a chance to.
    pub(crate) fn is_failure(&self) -> bool {
        !matches!(self, Verdict::Pass | Verdict::Skip { .. } | Verdict::NotRun { .. })
    }

    /// Returns the verdict as one word, for tables and counts.
    pub fn word(&self) -> &'static str {
        self.into()
    }

    /// Returns the reason or other details. `None` if the case passed.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Verdict::Pass => None,
            Verdict::Fail { reason }
            | Verdict::Skip { reason }
            | Verdict::BootFail { reason }
            | Verdict::Infra { reason }
            | Verdict::NotRun { reason } => Some(reason.clone()),
            Verdict::Crash { marker } => Some(marker.clone()),
            Verdict::Timeout { phase, place } => {
                let place = place.as_deref().map_or(String::new(), |place| format!(": {place}"));
                Some(format!("time limit exceeded in phase {phase}{place}"))
            }
        }
    }

    /// Returns the exit code for this verdict: 0 if the case passed or was skipped, 1 if it failed, 2 if it shows nothing
    /// about the kernel. A case that did not run has no effect: the exit code of the run follows from what stopped it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Verdict::Pass | Verdict::Skip { .. } | Verdict::NotRun { .. } => 0,
            Verdict::Fail { .. } | Verdict::Crash { .. } | Verdict::Timeout { .. } => 1,
            Verdict::BootFail { .. } | Verdict::Infra { .. } => 2,
        }
    }
}

/// Step of one target's run, in order.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Phase {
    /// Looking for programs and installing them.
    Setup,
    /// Building the kernel, or finding it in the cache.
    Kernel,
    /// Building the initramfs.
    Image,
    /// Booting, up to the first record.
    Boot,
    /// Running cases.
    Test,
    /// Shutting the machine down.
    Shutdown,
}

/// One case with its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseResult {
    /// Unique name: `suite/name` or `suite/name.device`.
    pub id: String,
    /// Name of its suite.
    pub suite: String,
    /// Sentence that states what the case checks.
    pub about: String,
    /// Numbers of the promises in `docs/interface.md` that the case checks.
    pub promises: Vec<u8>,
    /// Outcome.
    pub verdict: Verdict,
    /// True if the case failed, and passed when it ran again.
    pub flaky: bool,
    /// Number of times that the case ran. If more than once, the fields about a single run are those of the first failed
    /// attempt if the case failed, else those of the last attempt.
    pub attempts: usize,
    /// Failed attempts, in order, of a case that ran more than once.
    pub failed_attempts: Vec<FailedAttempt>,
    /// Duration in milliseconds, by the guest's clock. Absent (`null`) if the case did not end.
    pub millis: Option<u64>,
    /// Number of the target's boot in which the case ran, from 1. Absent (`null`) if it did not run.
    pub boot: Option<usize>,
    /// Measured figures, by name. The names include the units.
    pub figures: BTreeMap<String, f64>,
    /// Curves: times of operations at growing sizes.
    pub curves: Vec<Curve>,
    /// Observations of the oracle. Absent (`null`) if it did not watch the whole case, or cannot be trusted.
    pub oracle: Option<OracleSummary>,
    /// Reason why the oracle cannot be trusted in this case. The verdict is then `infra`, unless the case crashed. Absent
    /// (`null`) if the oracle can be trusted or did not watch.
    #[serde(default)]
    pub distrust: Option<String>,
    /// Output of the case's processes, by line.
    pub log: Vec<String>,
    /// Last lines of the console. Empty if the case passed.
    pub console: Vec<String>,
}

impl CaseResult {
    /// Returns the exit code of the case's program, or `None` if the case has no program, or if the program did not end.
    pub(crate) fn program_exit_code(&self) -> Option<u8> {
        // The code is at most 255: the kernel keeps its lowest eight bits.
        self.figures.get(EXIT_CODE).map(|code| *code as u8)
    }

    /// Returns true if the case counts as passed although an attempt failed.
    pub(crate) fn passed_as_flaky(&self) -> bool {
        self.flaky && !self.verdict.is_failure()
    }

    /// Returns the number of failed attempts: `failed in attempt 1 of 2`, `failed in 3 of 100 attempts: 7, 20, 31`.
    pub(crate) fn tally(&self) -> String {
        let all = self.attempts;
        match self.failed_attempts.as_slice() {
            [] => format!("passed in {all} attempts"),
            [one] => format!("failed in attempt {} of {all}", one.number),
            many if many.len() == all => format!("failed in each of {all} attempts"),
            many => {
                let count = many.len();
                let numbers = many.iter().take(TALLIED).map(|attempt| attempt.number.to_string());
                let more = if count > TALLIED { ", ..." } else { "" };
                let numbers = numbers.collect::<Vec<_>>().join(", ");
                format!("failed in {count} of {all} attempts: {numbers}{more}")
            }
        }
    }

    /// Returns each failed attempt as the result of a case. Empty if the case ran only once.
    pub(crate) fn attempts_that_failed(&self) -> impl Iterator<Item = (usize, CaseResult)> {
        self.failed_attempts.iter().map(|attempt| {
            let FailedAttempt { number, verdict, millis, boot, oracle, log, console } =
                attempt.clone();
            let case = CaseResult {
                id: self.id.clone(),
                suite: self.suite.clone(),
                about: self.about.clone(),
                promises: self.promises.clone(),
                verdict,
                flaky: false,
                attempts: 1,
                failed_attempts: Vec::new(),
                millis,
                boot,
                figures: BTreeMap::new(),
                curves: Vec::new(),
                oracle,
                distrust: None,
                log,
                console,
            };
            (number, case)
        })
    }
}

/// Number of failed attempts that [`CaseResult::tally`] lists.
const TALLIED: usize = 10;

/// Failed attempt of a case that ran more than once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailedAttempt {
    /// Number of the attempt, from 1.
    pub number: usize,
    /// Outcome.
    pub verdict: Verdict,
    /// Duration in milliseconds, by the guest's clock. Absent (`null`) if the attempt did not end.
    pub millis: Option<u64>,
    /// Number of the target's boot in which the attempt ran, from 1. Absent (`null`) if it did not run.
    pub boot: Option<usize>,
    /// Observations of the oracle, as for the case.
    pub oracle: Option<OracleSummary>,
    /// Output of the case's processes, by line. Only the first failed attempts of a case have it.
    pub log: Vec<String>,
    /// Last lines of the console. Only the first failed attempts of a case have them.
    pub console: Vec<String>,
}

impl FailedAttempt {
    /// Returns attempt `number`, which ended with `result`; without log, console and findings unless it is `detailed`.
    pub(crate) fn of(number: usize, result: &CaseResult, detailed: bool) -> Self {
        let kept = |lines: &Vec<String>| if detailed { lines.clone() } else { Vec::new() };
        Self {
            number,
            verdict: result.verdict.clone(),
            millis: result.millis,
            boot: result.boot,
            oracle: result.oracle.clone().filter(|_| detailed),
            log: kept(&result.log),
            console: kept(&result.console),
        }
    }
}

/// Observations of the oracle during a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OracleSummary {
    /// Number of accesses that were modelled; 0 if the boot ended during the case.
    pub accesses: u64,
    /// Number of different findings.
    pub distinct: u64,
    /// The first findings. Later ones are in the boot's `oracle.jsonl` only.
    pub findings: Vec<FindingSummary>,
    /// Findings that are known and accepted. They are not among the others and do not fail the case.
    #[serde(default)]
    pub excused: Vec<ExcusedSummary>,
}

/// Finding of the oracle that `oracle/excused.yaml` covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExcusedSummary {
    /// Name of the entry in `oracle/excused.yaml`.
    pub name: String,
    /// Reason, from that entry.
    pub reason: String,
    /// The finding.
    pub finding: FindingSummary,
}

/// Finding of the oracle: an access that may get stale data on hardware.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingSummary {
    /// Name, unique in a run: `target/suite/name.device/number`, where `target` is the name of the result.
    pub id: String,
    /// Kind of conflict: `dirty-elsewhere`, `lost-write` or `stale-copy`.
    pub kind: String,
    /// Physical address of the page, in hexadecimal.
    pub page: String,
    /// Function of the kernel that is responsible for the store: `process` if a process stored, `kernel` if the function
    /// is unknown.
    pub earlier: String,
    /// The same for the access that the finding is about.
    pub later: String,
    /// Number of times that the conflict was found.
    pub repeats: u64,
    /// Sentence that describes the two conflicting accesses.
    pub text: String,
    /// Number of the window in the boot's `oracle.jsonl`, which also has the accesses before the finding.
    pub window: u32,
    /// Number of the finding in that window.
    pub number: u32,
}

/// Accelerator of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Accelerator {
    /// Hardware virtualization.
    Kvm,
    /// QEMU's own translator.
    Tcg,
}

/// Accesses that the oracle modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum OracleState {
    /// None; the oracle did not run.
    Off,
    /// Accesses of processes.
    User,
    /// Accesses of processes and of the kernel.
    Full,
    /// The same, and a flush of the whole cache on behalf of a process counted only for what that process used.
    Strict,
}

/// A property with a fixed set of values, each with a word for results.json and for people.
pub trait Named: Copy + PartialEq + fmt::Display + FromStr + VariantNames + 'static {}

impl Named for Accelerator {}
impl Named for OracleState {}

/// Values of one property. A run has one, results that were merged may have several, and a run that ended before the
/// property was known has none. Written as text: `tcg`, `tcg and kvm`, or an empty string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String", bound = "")]
pub struct Values<T: Named>(Vec<T>);

impl<T: Named> Values<T> {
    /// Returns all values, in the order in which they were added.
    pub(crate) fn all(&self) -> &[T] {
        &self.0
    }

    /// Adds a value unless it is there already.
    pub(crate) fn add(&mut self, value: T) {
        if !self.0.contains(&value) {
            self.0.push(value);
        }
    }
}

impl<T: Named> Default for Values<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Named> From<T> for Values<T> {
    fn from(value: T) -> Self {
        Self(vec![value])
    }
}

impl<T: Named> fmt::Display for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(T::to_string).collect();
        f.write_str(&words.join(AND))
    }
}

impl<T: Named> From<Values<T>> for String {
    fn from(values: Values<T>) -> Self {
        values.to_string()
    }
}

impl<T: Named> TryFrom<String> for Values<T> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let words = text.split(AND).filter(|word| !word.is_empty());
        let value = |word: &str| {
            let choices = || T::VARIANTS.join(", ");
            word.parse()
                .map_err(|_| format!("unknown value {word:?}; choose one of: {}", choices()))
        };
        words.map(value).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: Named> JsonSchema for Values<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Values".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let word = format!("({})", T::VARIANTS.join("|"));
        json_schema!({ "type": "string", "pattern": format!("^({word}({AND}{word})*)?$") })
    }
}

/// Separator of values that differ in merged results.
pub(crate) const AND: &str = " and ";

/// Versions and hashes of everything that ran. They show whether two results can be compared. Texts are empty for steps
/// that the run did not reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of the kernel source, from its Makefile.
    pub kernel_version: String,
    /// Hash of source, patch queue, configuration and toolchain: the key in the build cache.
    pub kernel_hash: String,
    /// SHA-256 of the kernel's `.config`.
    pub config_hash: String,
    /// First line of `cc --version` of the compiler that built the kernel.
    pub compiler: String,
    /// SHA-256 of the initramfs without its plan.
    pub image_hash: String,
    /// First line of `rustc --version`.
    pub rustc: String,
    /// First line of `qemu-system-* --version`.
    pub qemu: String,
    /// Accelerator of QEMU, `kvm` or `tcg`. Merged results can have both: `kvm and tcg`.
    pub accel: Values<Accelerator>,
    /// Reason for not using KVM. Absent (`null`) if KVM was used or the user chose TCG.
    pub accel_reason: Option<String>,
    /// Depth of the oracle: `user` or `full`; `off` if it did not watch.
    pub oracle: Values<OracleState>,
    /// Reason for running without the oracle. Absent (`null`) if it watched.
    pub oracle_reason: Option<String>,
}

/// Results of one target with one kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetResult {
    /// Name in reports and of the directory: the target, and the kernel's version if that is not the default. Unique in a
    /// run.
    pub name: String,
    /// Name of the target, as in `--arch`.
    pub target: String,
    /// Version of the kernel, as in `--kernel`. Absent (`null`) if the source or the image is the user's.
    pub kernel: Option<String>,
    /// Name of the flavour, as in `--flavour`.
    pub flavour: String,
    /// Stacks of the patch queue in the kernel: the one that `--stack` names, and those that it needs. Empty without that
    /// option.
    pub stacks: Vec<String>,
    /// Versions and hashes of everything that ran.
    pub provenance: Provenance,
    /// Reason why the target could not be tested. Absent (`null`) if it was tested.
    pub failure: Option<String>,
    /// Entries of `oracle/excused.yaml` that excused nothing, although the oracle watched a case that must need them.
    #[serde(default)]
    pub unused_excuses: Vec<String>,
    /// Number of times the machine was started.
    pub boots: usize,
    /// Seconds spent in each phase, by the phase's name.
    pub seconds: BTreeMap<String, f64>,
    /// Cases, in the order of the plan.
    pub cases: Vec<CaseResult>,
}

impl TargetResult {
    /// Returns the options that select the target and its kernel: `--arch x86_64`.
    pub(crate) fn options(&self) -> String {
        match &self.kernel {
            // The name is that of the target if the kernel is the default.
            Some(kernel) if self.name != self.target => {
                format!("--arch {} --kernel {kernel}", self.target)
            }
            _ => format!("--arch {}", self.target),
        }
    }

    /// Returns the version of the kernel: that of its source or, if the run did not get that far, the selected one. The
    /// text is empty if neither is known.
    pub(crate) fn kernel_version(&self) -> &str {
        match (self.provenance.kernel_version.as_str(), &self.kernel) {
            ("", Some(selected)) => selected,
            (version, _) => version,
        }
    }

    /// Returns the suites in the order in which they first appear, each with its cases.
    pub(crate) fn suites(&self) -> Vec<(&str, Vec<&CaseResult>)> {
        let mut suites: Vec<(&str, Vec<&CaseResult>)> = Vec::new();
        for case in &self.cases {
            match suites.iter_mut().find(|(name, _)| *name == case.suite) {
                Some((_, cases)) => cases.push(case),
                None => suites.push((&case.suite, vec![case])),
            }
        }
        suites
    }

    /// Returns the reason why the target could not be tested. A target without cases counts as not tested.
    pub(crate) fn untested(&self) -> Option<&str> {
        self.failure.as_deref().or(self.cases.is_empty().then_some("no cases to run"))
    }

    /// Returns the number of cases whose verdict has this word.
    pub(crate) fn count(&self, word: &str) -> usize {
        self.cases.iter().filter(|case| case.verdict.word() == word).count()
    }

    /// Returns the exit code for this target alone. It is 2 if the target has no cases.
    pub(crate) fn exit_code(&self) -> u8 {
        let cases = self.cases.iter().map(|case| case.verdict.exit_code());
        cases.chain(self.failure.iter().map(|_| 2)).max().unwrap_or(2)
    }
}

/// Results of a run of `cargo xtask test`: the content of `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// Version of the layout.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// Version of this tool and, in a checkout, the commit.
    pub tool: String,
    /// Command of the run, as words. Merged results have the command of each run.
    pub commands: Vec<Vec<String>>,
    /// Start of the run, RFC 3339, UTC.
    pub started: String,
    /// Seconds from the start to the end of the run.
    pub seconds: f64,
    /// True if the run was interrupted. Cases that had not ended then have the verdict `not-run`.
    pub interrupted: bool,
    /// Targets, each with each kernel, in the order of the command line.
    pub targets: Vec<TargetResult>,
}

impl RunResult {
    /// Returns the exit code of the run: the highest one that applies.
    pub(crate) fn exit_code(&self) -> u8 {
        let targets = self.targets.iter().map(TargetResult::exit_code);
        targets.chain(self.interrupted.then_some(2)).max().unwrap_or(2)
    }

    /// Returns true if a case shows that the kernel is wrong, whatever could not be tested.
    pub(crate) fn is_bad(&self) -> bool {
        let mut cases = self.targets.iter().flat_map(|target| &target.cases);
        cases.any(|case| case.verdict.exit_code() == 1)
    }
}

/// Numbers of cases, for summaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub passed: usize,
    /// Passed cases that failed before they passed.
    pub flaky: usize,
    /// Cases whose verdict is a failure.
    pub failed: usize,
    pub skipped: usize,
    /// Cases that did not run, or did not end, because the run ended.
    pub not_run: usize,
}

impl Counts {
    /// Counts one case.
    pub(crate) fn add(&mut self, case: &CaseResult) {
        match &case.verdict {
            Verdict::Pass => {
                self.passed += 1;
                self.flaky += usize::from(case.flaky);
            }
            Verdict::Skip { .. } => self.skipped += 1,
            Verdict::NotRun { .. } => self.not_run += 1,
            _ => self.failed += 1,
        }
    }

    /// Returns the counts of a target. A target that could not be tested has at least one failure.
    pub(crate) fn of_target(target: &TargetResult) -> Self {
        let mut counts = Self::default();
        target.cases.iter().for_each(|case| counts.add(case));
        if target.untested().is_some() && counts.failed == 0 {
            counts.failed = 1;
        }
        counts
    }

    /// Returns the counts of a run.
    pub(crate) fn of_run(run: &RunResult) -> Self {
        run.targets.iter().map(Self::of_target).fold(Self::default(), |sum, counts| Self {
            passed: sum.passed + counts.passed,
            flaky: sum.flaky + counts.flaky,
            failed: sum.failed + counts.failed,
            skipped: sum.skipped + counts.skipped,
            not_run: sum.not_run + counts.not_run,
        })
    }

    /// Returns all counts: `18 passed, 2 failed, 1 skipped`. Flaky cases, and cases that were not run, are left out if
    /// there are none.
    pub(crate) fn line(&self) -> String {
        let Self { passed, failed, skipped, not_run, .. } = self;
        let flaky = self.flaky_note();
        let not_run = match not_run {
            0 => String::new(),
            count => format!(", {count} not run"),
        };
        format!("{passed} passed{flaky}, {failed} failed, {skipped} skipped{not_run}")
    }

    /// Returns the number of flaky cases, ` (2 flaky)`, or nothing if there are none.
    fn flaky_note(&self) -> String {
        match self.flaky {
            0 => String::new(),
            count => format!(" ({count} flaky)"),
        }
    }

    /// Returns the counts that are not zero: `18 passed, 2 failed`.
    pub(crate) fn brief(&self) -> String {
        let passed = format!("passed{}", self.flaky_note());
        let counts = [
            (self.passed, passed.as_str()),
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.not_run, "not run"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
        counts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_could_not_be_tested_counts_as_failed() {
        let mut target = crate::report::samples::mixed().targets.remove(1);
        assert_eq!(Counts::of_target(&target).line(), "2 passed, 0 failed, 0 skipped");
        target.failure = Some("the patch queue does not apply".into());
        assert_eq!(Counts::of_target(&target).line(), "2 passed, 1 failed, 0 skipped");
        target.failure = None;
        target.cases.clear();
        assert_eq!(Counts::of_target(&target).line(), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn the_options_of_a_target_name_a_kernel_that_is_not_the_default() {
        let run = crate::report::samples::two_kernels();
        let options: Vec<String> = run.targets.iter().map(TargetResult::options).collect();
        assert_eq!(options, ["--arch x86_64", "--arch x86_64 --kernel 7.3"]);
    }

    #[test]
    fn values_are_text_in_json() {
        let json = |values: &Values<Accelerator>| serde_json::to_string(values).unwrap();
        let mut values = Values::from(Accelerator::Tcg);
        values.add(Accelerator::Tcg);
        assert_eq!(json(&values), "\"tcg\"");
        values.add(Accelerator::Kvm);
        assert_eq!(json(&values), "\"tcg and kvm\"");
        for values in [values, Values::default()] {
            let read: Values<Accelerator> = serde_json::from_str(&json(&values)).unwrap();
            assert_eq!(read, values);
        }
        let error = serde_json::from_str::<Values<OracleState>>("\"deep\"").unwrap_err();
        insta::assert_snapshot!(error, @r#"unknown value "deep"; choose one of: off, user, full, strict"#);
    }
}
