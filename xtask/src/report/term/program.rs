// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows a run of `cargo xtask run`: the output of the program, and on standard error everything that is not its output.

use std::path::{Path, PathBuf};
use std::time::Instant;

use protocol::record::Stream;

use super::text::{self, Paint};
use super::view::View;
use super::{TermOptions, Verbosity};
use crate::event::{Event, Events, Reporter, TargetEvent};
use crate::output;
use crate::report::{findings, rows};
use crate::results::{CaseResult, OracleState, TargetResult, Verdict};
use crate::text::words::{lines, one_line};

/// Number of lines shown of the kernel's console after a crash. The run's directory has all of them.
const CONSOLE_SHOWN: usize = 30;

/// Returns an event bus for a run with one program. If `quiet` is true, only problems are printed, besides the program's
/// output.
pub(crate) fn to_terminal(quiet: bool) -> Events {
    let options = TermOptions::new(Verbosity::of_flags(false, quiet), "");
    Events::new(vec![Box::new(ProgramScreen {
        quiet: options.verbosity == Verbosity::Quiet,
        view: View::new(options, false, Paint { colour: false }),
        started: Instant::now(),
        run_dir: PathBuf::new(),
    })])
}

/// Shows the run of one program.
struct ProgramScreen {
    view: View,
    quiet: bool,
    started: Instant,
    run_dir: PathBuf,
}

impl Reporter for ProgramScreen {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStart { run_dir, .. } => self.run_dir.clone_from(run_dir),
            Event::Target { event: TargetEvent::Output { stream, bytes }, .. } => match stream {
                Stream::Stdout => output::pass_on(bytes),
                Stream::Stderr => output::pass_on_to_stderr(bytes),
            },
            Event::Target { event: TargetEvent::End(result), .. } => {
                output::pass_on_to_stderr(end(result, &self.run_dir, self.quiet).as_bytes());
            }
            Event::Target {
                event:
                    TargetEvent::Start { .. }
                    | TargetEvent::Phase { .. }
                    | TargetEvent::Progress { .. }
                    | TargetEvent::Note(_),
                ..
            } => {
                let text = self.view.handle(event, self.started.elapsed());
                output::pass_on_to_stderr(text.as_bytes());
            }
            Event::Target { .. } | Event::RunEnd { .. } => {}
        }
    }
}

/// Returns the text after the end of the program: what went wrong, and what the oracle found.
fn end(result: &TargetResult, run_dir: &Path, quiet: bool) -> String {
    let name = &result.name;
    let failure = result.failure.as_ref();
    let failure = failure.map(|failure| format!("{name}: {}\n", lines(failure).join("\n    ")));
    // A case that never ran repeats the failure of its target.
    let tells_more = |case: &&CaseResult| failure.is_none() || case.boot.is_some();
    let Some(case) = result.cases.first().filter(tells_more) else {
        return failure.unwrap_or_default();
    };
    if quiet && case.verdict == Verdict::Pass {
        return failure.unwrap_or_default();
    }
    let mut out = failure.unwrap_or_default();
    out += &match case.verdict {
        Verdict::Pass => format!("{name}: the program exited with status 0"),
        _ => format!("{name}: {}", case.verdict.word()),
    };
    let when = rows::when(case);
    if !when.is_empty() {
        out += &format!(" {when}");
    }
    out.push('\n');
    out + &text::details(details(result, case, run_dir), Paint { colour: false })
}

/// Returns the details of the end: names, each with its lines.
fn details(
    result: &TargetResult,
    case: &CaseResult,
    run_dir: &Path,
) -> Vec<(&'static str, Vec<String>)> {
    let found = findings(case);
    // The output of the program explains its exit code. The kernel's console does not.
    let by_program = case.program_exit_code().is_some_and(|code| code != 0);
    let console = match case.verdict {
        Verdict::Pass => Vec::new(),
        Verdict::Fail { .. } if by_program || !found.is_empty() => Vec::new(),
        _ => rows::last_lines(&case.console, CONSOLE_SHOWN),
    };
    let files = run_dir.join(&result.name).display().to_string();
    vec![
        ("reason", lines(&case.verdict.detail().unwrap_or_default())),
        ("oracle", if found.is_empty() { oracle(result, case) } else { found }),
        ("console", console),
        ("files", vec![files]),
    ]
}

/// Describes the work of the oracle if it found nothing.
fn oracle(result: &TargetResult, case: &CaseResult) -> Vec<String> {
    let ran = &result.provenance;
    let text = match (ran.oracle.all(), &ran.oracle_reason, &case.oracle) {
        ([depth, ..], _, Some(seen)) if *depth != OracleState::Off => {
            let found = if seen.excused.is_empty() { "no finding" } else { "no other finding" };
            let last = format!("{found} in {} accesses at depth {depth}", seen.accesses);
            let excused =
                rows::excuses(result).into_iter().map(|(name, text)| format!("{name}: {text}"));
            return excused.chain([last]).collect();
        }
        ([OracleState::Off], Some(reason), _) => format!("off: {}", one_line(reason)),
        _ => return Vec::new(),
    };
    vec![text]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::results::{OracleSummary, Provenance};
    use protocol::record::EXIT_CODE;

    fn ended(case: CaseResult) -> TargetResult {
        let provenance = Provenance { oracle: OracleState::Full.into(), ..Provenance::default() };
        TargetResult {
            name: "armv6".into(),
            cases: vec![case],
            provenance,
            ..TargetResult::default()
        }
    }

    fn shown(result: &TargetResult) -> String {
        end(result, Path::new("target/lab/RUN"), false)
    }

    fn program(verdict: Verdict, exit_code: Option<u8>) -> CaseResult {
        let code = exit_code.map(|code| (EXIT_CODE.to_owned(), code.into()));
        CaseResult {
            verdict,
            figures: code.into_iter().collect(),
            oracle: Some(OracleSummary {
                accesses: 1234,
                distinct: 0,
                findings: Vec::new(),
                excused: Vec::new(),
            }),
            console: vec!["[    2.0] Kernel panic - not syncing: oops".into()],
            ..samples::pass("run/prog")
        }
    }

    #[test]
    fn a_program_that_succeeds() {
        let passed = program(Verdict::Pass, Some(0));
        insta::assert_snapshot!(shown(&ended(passed.clone())), @r"
        armv6: the program exited with status 0 after 1.24 s in boot 1
          oracle   no finding in 1234 accesses at depth full
          files    target/lab/RUN/armv6
        ");
        assert_eq!(end(&ended(passed.clone()), Path::new(""), true), "");
        let mut off = ended(CaseResult { oracle: None, ..passed });
        off.provenance.oracle = OracleState::Off.into();
        off.provenance.oracle_reason = Some("data caches do not alias".into());
        insta::assert_snapshot!(shown(&off), @r"
        armv6: the program exited with status 0 after 1.24 s in boot 1
          oracle   off: data caches do not alias
          files    target/lab/RUN/armv6
        ");
    }

    #[test]
    fn a_program_that_fails_and_a_kernel_that_crashes() {
        let failed = program(Verdict::fail("the program exited with status 3"), Some(3));
        insta::assert_snapshot!(shown(&ended(failed)), @r"
        armv6: fail after 1.24 s in boot 1
          reason   the program exited with status 3
          oracle   no finding in 1234 accesses at depth full
          files    target/lab/RUN/armv6
        ");
        let marker = "Kernel panic - not syncing: oops".into();
        let crashed = CaseResult { oracle: None, ..program(Verdict::Crash { marker }, None) };
        insta::assert_snapshot!(shown(&ended(crashed)), @r"
        armv6: crash after 1.24 s in boot 1
          reason   Kernel panic - not syncing: oops
          console  [    2.0] Kernel panic - not syncing: oops
          files    target/lab/RUN/armv6
        ");
    }

    #[test]
    fn findings_and_failures_of_the_lab() {
        let found =
            CaseResult { figures: program(Verdict::Pass, Some(0)).figures, ..samples::stale() };
        insta::assert_snapshot!(shown(&ended(found)), @r"
        armv6: fail after 1.24 s in boot 1
          reason   may be stale on hardware: a finding of the oracle
          oracle   armv6/coherency/ping-pong.fuse/1 (once): dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
                   armv6/coherency/ping-pong.fuse/2 (once): dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
          files    target/lab/RUN/armv6
        ");
        let never_ran = samples::never_ran("run/prog", Verdict::infra("not built"));
        let mut unbuilt = ended(never_ran);
        unbuilt.failure = Some("build the kernel of armv6: make failed\nfs/a.c:1: error".into());
        insta::assert_snapshot!(shown(&unbuilt), @r"
        armv6: build the kernel of armv6: make failed
            fs/a.c:1: error
        ");
        // The guest sent no record.
        let boot_fail = Verdict::BootFail { reason: "no first record from the guest".into() };
        let silent = ended(samples::never_ran("run/prog", boot_fail));
        assert!(shown(&silent).contains("no first record from the guest"), "{}", shown(&silent));
        // The target failed after its program had ended.
        let mut late = ended(samples::pass("run/prog"));
        late.failure = Some("write the coverage report".into());
        insta::assert_snapshot!(shown(&late), @r"
        armv6: write the coverage report
        armv6: the program exited with status 0 after 1.24 s in boot 1
          files    target/lab/RUN/armv6
        ");
    }
}
