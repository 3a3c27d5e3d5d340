// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ktap.txt`: a run for the kernel's tools, nested by target, suite and case.
//!
//! The format is that of Documentation/dev-tools/ktap.rst, version 1.

use crate::report::{FLAKY, findings};
use crate::results::{CaseResult, RunResult, TargetResult, Verdict};
use crate::text::words::{one_line, printable, shown};

/// Renders the whole result.
pub(crate) fn render(result: &RunResult) -> String {
    let mut lines = block(result.targets.iter().map(target).collect());
    if result.interrupted {
        lines.push("# interrupted".into());
    }
    lines.join("\n") + "\n"
}

/// One test of a block: the lines before its result line, and the parts of the result line.
struct Test {
    before: Vec<String>,
    ok: bool,
    name: String,
    /// Directive and detail, without the `#`. May be empty.
    after: String,
}

/// Renders tests under a version line and a plan.
fn block(tests: Vec<Test>) -> Vec<String> {
    let mut lines = vec!["KTAP version 1".into(), format!("1..{}", tests.len())];
    for (number, test) in (1..).zip(tests) {
        lines.extend(test.before);
        let result = if test.ok { "ok" } else { "not ok" };
        let hash = if test.after.is_empty() { "" } else { " # " };
        // A `#` would end the name.
        let name = printable(&test.name).replace('#', "_");
        lines.push(format!("{result} {number} {name}{hash}{}", test.after));
    }
    lines
}

/// Renders the subtests of the test `name` as an indented block. The result line, which has the name, comes last. For
/// human readers, a comment at the start gives the name too, as in KUnit. `comments` follow it.
fn nested(name: &str, comments: Vec<String>, tests: Vec<Test>) -> Vec<String> {
    let mut lines = block(tests);
    let subtest = format!("# Subtest: {}", printable(name));
    lines.splice(1..1, std::iter::once(subtest).chain(comments));
    lines.iter().map(|line| format!("  {line}")).collect()
}

fn target(target: &TargetResult) -> Test {
    let tests: Vec<Test> = target.suites().into_iter().map(suite).collect();
    let failure = target.untested();
    let ok = failure.is_none() && tests.iter().all(|test| test.ok);
    let after = failure.map(|failure| format!("ERROR {}", one_line(failure)));
    let known =
        [("kernel", target.kernel_version().to_owned()), ("stacks", target.stacks.join(", "))];
    let known = known.iter().filter(|(_, value)| !value.is_empty());
    let comments = known.map(|(name, value)| format!("# {name}: {}", one_line(value))).collect();
    Test {
        before: match tests.is_empty() {
            true => Vec::new(),
            false => nested(&target.name, comments, tests),
        },
        ok,
        name: target.name.clone(),
        after: after.unwrap_or_default(),
    }
}

fn suite((name, cases): (&str, Vec<&CaseResult>)) -> Test {
    let tests: Vec<Test> = cases.into_iter().map(case).collect();
    let ok = tests.iter().all(|test| test.ok);
    Test { before: nested(name, Vec::new(), tests), ok, name: name.into(), after: String::new() }
}

fn case(case: &CaseResult) -> Test {
    let detail = case.verdict.detail().unwrap_or_default();
    let after = match &case.verdict {
        Verdict::Pass if case.flaky => format!("{FLAKY}: {}", case.tally()),
        Verdict::Pass => String::new(),
        Verdict::Skip { .. } => format!("SKIP {}", one_line(&detail)),
        Verdict::NotRun { .. } => format!("SKIP not run: {}", one_line(&detail)),
        Verdict::Fail { .. } => one_line(&detail),
        Verdict::Timeout { .. } => format!("TIMEOUT {}", one_line(&detail)),
        Verdict::Crash { .. } | Verdict::BootFail { .. } | Verdict::Infra { .. } => {
            format!("ERROR {}: {}", case.verdict.word(), one_line(&detail))
        }
    };
    let ok = !case.verdict.is_failure();
    Test {
        before: if ok { attempts(case) } else { [diagnostics(case), attempts(case)].concat() },
        ok,
        name: case.id.clone(),
        after,
    }
}

/// Returns the details of a failed case as comments. The prefix of each line keeps a parser from reading a guest's text as
/// KTAP.
fn diagnostics(case: &CaseResult) -> Vec<String> {
    let about = format!("# checks: {}", one_line(&case.about));
    let log = case.log.iter().map(|line| format!("# log: {}", shown(line)));
    let console = case.console.iter();
    let console = console.map(|line| format!("# console: {}", shown(line)));
    let oracle = findings(case);
    let oracle = oracle.iter().map(|found| format!("# oracle: {}", one_line(found)));
    std::iter::once(about).chain(oracle).chain(log).chain(console).collect()
}

/// Returns the failed attempts of a case that ran more than once as comments.
fn attempts(case: &CaseResult) -> Vec<String> {
    let line = |(number, attempt): (usize, CaseResult)| {
        let detail = one_line(&attempt.verdict.detail().unwrap_or_default());
        format!("# attempt {number} of {}: {}: {detail}", case.attempts, attempt.verdict.word())
    };
    case.attempts_that_failed().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn cases_that_ran_more_than_once() {
        insta::assert_snapshot!(render(&samples::retried()), @"
        KTAP version 1
        1..1
          KTAP version 1
          # Subtest: x86_64
          # kernel: 6.12.117
          1..2
            KTAP version 1
            # Subtest: smoke
            1..2
            ok 1 smoke/boot
            # checks: smoke/redirect.fuse keeps its promise.
            # log: server: page 7 is mapped
            # log: client 1: stored 0x5a
            # console: [    1.214001] init: case 2/7 smoke/redirect.fuse
            # attempt 1 of 2: fail: client 1 stored 0x5a at offset 4096; the server read 0x00
            # attempt 2 of 2: fail: may be stale on hardware: a finding of the oracle
            not ok 2 smoke/redirect.fuse # client 1 stored 0x5a at offset 4096; the server read 0x00
          not ok 1 smoke
            KTAP version 1
            # Subtest: coherency
            1..1
            # attempt 1 of 2: crash: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
            ok 1 coherency/ping-pong.fuse # flaky: failed in attempt 1 of 2
          ok 2 coherency
        not ok 1 x86_64
        ");
    }

    #[test]
    fn a_run_with_every_verdict() {
        insta::assert_snapshot!(render(&samples::mixed()), @"
        KTAP version 1
        1..2
          KTAP version 1
          # Subtest: x86_64
          # kernel: 6.12.117
          1..3
            KTAP version 1
            # Subtest: smoke
            1..3
            ok 1 smoke/boot
            # checks: smoke/redirect.fuse keeps its promise.
            # log: server: page 7 is mapped
            # log: client 1: stored 0x5a
            # console: [    1.214001] init: case 2/7 smoke/redirect.fuse
            not ok 2 smoke/redirect.fuse # client 1 stored 0x5a at offset 4096; the server read 0x00
            ok 3 smoke/redirect.cuse # SKIP no CUSE on this target
          not ok 1 smoke
            KTAP version 1
            # Subtest: coherency
            1..2
            # checks: coherency/ping-pong.fuse keeps its promise.
            # console: [    2.310552] init: case 4/7 coherency/ping-pong.fuse
            # console: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
            # console: [    2.514871] Oops: Oops: 0002 [#1] SMP
            # console: [    2.519114] Kernel panic - not syncing: Fatal exception
            not ok 1 coherency/ping-pong.fuse # ERROR crash: [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
            # checks: coherency/seqlock.fuse keeps its promise.
            # log: client 2: waiting for turn 3
            not ok 2 coherency/seqlock.fuse # TIMEOUT time limit exceeded in phase test: client waits in fuse_dmmap_req_wait
          not ok 2 coherency
            KTAP version 1
            # Subtest: drain
            1..2
            # checks: drain/limit.cuse keeps its promise.
            not ok 1 drain/limit.cuse # ERROR infra: a record of this case did not arrive whole: truncated
            # checks: drain/exit.fuse keeps its promise.
            not ok 2 drain/exit.fuse # ERROR boot-fail: no first record from the guest: the kernel crashed: No working init found.
          not ok 3 drain
        not ok 1 x86_64
          KTAP version 1
          # Subtest: arm64
          # kernel: 6.12.117
          1..1
            KTAP version 1
            # Subtest: smoke
            1..2
            ok 1 smoke/boot
            ok 2 smoke/redirect.fuse
          ok 1 smoke
        ok 2 arm64
        ");
    }

    #[test]
    fn an_interrupted_run_and_a_target_that_could_not_be_tested() {
        insta::assert_snapshot!(render(&samples::interrupted()), @"
        KTAP version 1
        1..1
          KTAP version 1
          # Subtest: x86_64
          # kernel: 6.12.117
          1..2
            KTAP version 1
            # Subtest: smoke
            1..3
            ok 1 smoke/boot
            ok 2 smoke/redirect.fuse # SKIP not run: interrupted before it ran
            ok 3 smoke/redirect.cuse # SKIP not run: interrupted before it ran
          ok 1 smoke
            KTAP version 1
            # Subtest: drain
            1..1
            ok 1 drain/limit.fuse # SKIP not run: interrupted before it ran
          ok 2 drain
        ok 1 x86_64
        # interrupted
        ");
        insta::assert_snapshot!(render(&samples::untested()), @"
        KTAP version 1
        1..1
          KTAP version 1
          # Subtest: x86_64
          # kernel: 6.12
          1..2
            KTAP version 1
            # Subtest: smoke
            1..1
            # checks: smoke/boot keeps its promise.
            not ok 1 smoke/boot # ERROR infra: 0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112; take it out of kernel-patches/6.12/series or make it fit
          not ok 1 smoke
            KTAP version 1
            # Subtest: drain
            1..1
            # checks: drain/limit.fuse keeps its promise.
            not ok 1 drain/limit.fuse # ERROR infra: 0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112; take it out of kernel-patches/6.12/series or make it fit
          not ok 2 drain
        not ok 1 x86_64 # ERROR 0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112; take it out of kernel-patches/6.12/series or make it fit
        ");
    }

    #[test]
    fn a_run_with_two_kernels() {
        insta::assert_snapshot!(render(&samples::two_kernels()), @"
        KTAP version 1
        1..2
          KTAP version 1
          # Subtest: x86_64
          # kernel: 6.12.117
          1..1
            KTAP version 1
            # Subtest: smoke
            1..1
            ok 1 smoke/boot
          ok 1 smoke
        ok 1 x86_64
          KTAP version 1
          # Subtest: x86_64-7.3
          # kernel: 7.3.4
          1..1
            KTAP version 1
            # Subtest: smoke
            1..1
            # checks: smoke/redirect.fuse keeps its promise.
            # log: server: page 7 is mapped
            # log: client 1: stored 0x5a
            # console: [    1.214001] init: case 2/7 smoke/redirect.fuse
            not ok 1 smoke/redirect.fuse # client 1 stored 0x5a at offset 4096; the server read 0x00
          not ok 1 smoke
        not ok 2 x86_64-7.3
        ");
    }

    #[test]
    fn stacks_follow_the_kernel() {
        let text = render(&samples::one_stack());
        assert!(text.contains("  # kernel: 6.12.117\n  # stacks: fixes, core\n"), "{text}");
    }

    #[test]
    fn a_run_under_the_oracle() {
        insta::assert_snapshot!(render(&samples::watched()), @"
        KTAP version 1
        1..1
          KTAP version 1
          # Subtest: armv6
          # kernel: 6.12.117
          1..2
            KTAP version 1
            # Subtest: smoke
            1..1
            ok 1 smoke/boot
          ok 1 smoke
            KTAP version 1
            # Subtest: coherency
            1..1
            # checks: coherency/ping-pong.fuse keeps its promise.
            # oracle: armv6/coherency/ping-pong.fuse/1 (once): dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
            # oracle: armv6/coherency/ping-pong.fuse/2 (once): dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
            not ok 1 coherency/ping-pong.fuse # may be stale on hardware: a finding of the oracle
          not ok 2 coherency
        not ok 1 armv6
        ");
    }

    #[test]
    fn a_run_without_cases_is_not_ok() {
        insta::assert_snapshot!(render(&samples::empty()), @"
        KTAP version 1
        1..1
        not ok 1 x86_64 # ERROR no cases to run
        ");
    }

    #[test]
    fn a_name_is_not_read_as_a_directive() {
        let mut result = samples::mixed();
        result.targets.truncate(1);
        result.targets[0].cases.truncate(1);
        result.targets[0].cases[0].id = "smoke/one # SKIP\n2".into();
        let text = render(&result);
        assert!(text.contains("\n    ok 1 smoke/one _ SKIP2\n"), "{text}");
    }
}
