// SPDX-License-Identifier: MIT OR Apache-2.0
//! `junit.xml`: a run for CI systems. Each suite of each target is a test suite with the name `target.suite`.

use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use crate::report::{findings, rows};
use crate::results::{CaseResult, RunResult, TargetResult, Verdict};
use crate::text::words::{duration, lines, one_line, shown};

/// Renders the whole result.
pub(crate) fn render(result: &RunResult) -> String {
    let mut report = Report::new("dmmap-lab");
    report.set_time(duration(result.seconds));
    for target in &result.targets {
        for (name, cases) in target.suites() {
            let cases = cases.into_iter().map(|case| case_of(target, case));
            report.add_test_suite(suite_of(result, target, name, cases.collect()));
        }
        if let Some(failure) = target.untested() {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(one_line(failure)).set_type("infra");
            status.set_description(element(failure));
            let case = TestCase::new("target", status);
            report.add_test_suite(suite_of(result, target, "lab", vec![case]));
        }
    }
    report.to_string().expect(
        "writing XML into memory succeeds: `element` and `one_line` remove invalid characters",
    )
}

fn suite_of(run: &RunResult, target: &TargetResult, name: &str, cases: Vec<TestCase>) -> TestSuite {
    let mut suite = TestSuite::new(format!("{}.{name}", target.name));
    suite.set_time(cases.iter().filter_map(|case| case.time).sum());
    suite.extra.insert("timestamp".into(), (&run.started).into());
    let known = rows::provenance(run, target);
    suite.add_properties(known.map(|(name, value)| Property::new(name, value)));
    suite.add_test_cases(cases);
    suite
}

fn case_of(target: &TargetResult, case: &CaseResult) -> TestCase {
    let name = case.id.split_once('/').map_or(case.id.as_str(), |(_, name)| name);
    let mut out = TestCase::new(name, status_of(case));
    out.set_classname(format!("{}.{}", target.name, case.suite));
    if let Some(millis) = case.millis {
        out.set_time(Duration::from_millis(millis));
    }
    if !case.log.is_empty() {
        out.set_system_out(output(&case.log));
    }
    if !case.console.is_empty() {
        out.set_system_err(output(&case.console));
    }
    for (name, figure) in &case.figures {
        out.add_property(Property::new(name, figure.to_string()));
    }
    for curve in &case.curves {
        let operation = one_line(&curve.operation);
        out.add_property(Property::new(
            format!("{operation} exponent"),
            format!("{:.2}", curve.exponent),
        ));
        out.add_property(Property::new(
            format!("{operation} ratio"),
            format!("{:.2}", curve.ratio),
        ));
    }
    out
}

fn status_of(case: &CaseResult) -> TestCaseStatus {
    let verdict = &case.verdict;
    let mut status = match verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Skip { .. } | Verdict::NotRun { .. } => TestCaseStatus::skipped(),
        _ => TestCaseStatus::non_success(kind(verdict)),
    };
    status.set_message(one_line(&verdict.detail().unwrap_or_default()));
    if verdict.is_failure() {
        status.set_type(verdict.word());
        status.set_description(description(case));
    }
    // The element of a failed case is its first failed attempt. With `--strict`, a flaky case fails for another reason.
    let shown = usize::from(verdict.is_failure() && !case.flaky);
    status.add_reruns(case.attempts_that_failed().skip(shown).map(|(_, attempt)| rerun(&attempt)));
    status
}

fn kind(verdict: &Verdict) -> NonSuccessKind {
    match verdict {
        Verdict::Fail { .. } => NonSuccessKind::Failure,
        _ => NonSuccessKind::Error,
    }
}

/// Returns the text of a failure: what the case checks, the reason, and the findings of the oracle.
fn description(case: &CaseResult) -> String {
    let detail = case.verdict.detail().unwrap_or_default();
    let mut text = format!("{}\n{}", case.about, element(&detail));
    for found in findings(case) {
        text += &format!("\n{}", element(&found));
    }
    text
}

/// Returns a failed attempt of a case that ran more than once: `flakyFailure`, `rerunFailure` and so on.
fn rerun(attempt: &CaseResult) -> TestRerun {
    let verdict = &attempt.verdict;
    let mut rerun = TestRerun::new(kind(verdict));
    rerun.set_type(verdict.word());
    rerun.set_message(one_line(&verdict.detail().unwrap_or_default()));
    rerun.set_description(description(attempt));
    if let Some(millis) = attempt.millis {
        rerun.set_time(Duration::from_millis(millis));
    }
    if !attempt.log.is_empty() {
        rerun.set_system_out(output(&attempt.log));
    }
    if !attempt.console.is_empty() {
        rerun.set_system_err(output(&attempt.console));
    }
    rerun
}

/// Returns lines of a log or of the console for an XML element.
fn output(lines: &[String]) -> String {
    lines.iter().map(|line| shown(line)).collect::<Vec<_>>().join("\n")
}

/// Returns a text for an XML element, without the characters that XML does not allow.
fn element(text: &str) -> String {
    lines(text).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn suites_have_the_name_and_the_version_of_their_kernel() {
        let text = render(&samples::two_kernels());
        let lines = text.lines().filter(|line| {
            ["<testsuite ", "\"kernel\"", "<testcase "].iter().any(|part| line.contains(part))
        });
        let lines: Vec<&str> = lines.map(str::trim).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        <testsuite name="x86_64.smoke" tests="1" disabled="0" errors="0" failures="0" time="1.240" timestamp="2025-11-22T19:33:00Z">
        <property name="kernel" value="6.12.117"/>
        <testcase name="boot" classname="x86_64.smoke" time="1.240">
        <testsuite name="x86_64-7.3.smoke" tests="1" disabled="0" errors="0" failures="1" time="1.240" timestamp="2025-11-22T19:33:00Z">
        <property name="kernel" value="7.3.4"/>
        <testcase name="redirect.fuse" classname="x86_64-7.3.smoke" time="1.240">
        "#);
    }

    #[test]
    fn curves_are_properties() {
        let text = render(&samples::scaled());
        let names = text.lines().filter(|line| line.contains("ratio") || line.contains("exponent"));
        insta::assert_snapshot!(names.map(str::trim).collect::<Vec<_>>().join("\n"), @r#"
        <property name="touch exponent" value="1.00"/>
        <property name="touch ratio" value="1.50"/>
        <property name="FREE exponent" value="2.00"/>
        <property name="FREE ratio" value="50.00"/>
        "#);
    }

    #[test]
    fn attempts_are_flaky_runs_or_reruns() {
        let text = render(&samples::retried());
        let lines = text.lines().filter(|line| {
            ["<testcase", "flaky", "rerun", "<failure"].iter().any(|part| line.contains(part))
        });
        insta::assert_snapshot!(lines.map(str::trim).collect::<Vec<_>>().join("\n"), @r#"
        <testcase name="boot" classname="x86_64.smoke" time="1.240">
        <testcase name="redirect.fuse" classname="x86_64.smoke" time="1.240">
        <failure message="client 1 stored 0x5a at offset 4096; the server read 0x00" type="fail">smoke/redirect.fuse keeps its promise.
        <rerunFailure time="1.240" message="may be stale on hardware: a finding of the oracle" type="fail">smoke/redirect.fuse keeps its promise.
        armv6/coherency/ping-pong.fuse/2 (once): dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache</rerunFailure>
        <testcase name="ping-pong.fuse" classname="x86_64.coherency" time="1.240">
        <flakyError message="[    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008" type="crash">coherency/ping-pong.fuse keeps its promise.
        </flakyError>
        "#);
    }

    #[test]
    fn a_run_with_every_verdict() {
        insta::assert_snapshot!(render(&samples::mixed()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="dmmap-lab" tests="9" failures="1" errors="4" time="131.070">
            <testsuite name="x86_64.smoke" tests="3" disabled="1" errors="0" failures="1" time="2.480" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12.117"/>
                    <property name="kernel-hash" value="4f1c"/>
                    <property name="config-hash" value="a0b1"/>
                    <property name="image-hash" value="77aa"/>
                    <property name="compiler" value="gcc (Debian 12.2.0-14+deb12u1) 12.2.0"/>
                    <property name="rustc" value="rustc 1.85.0"/>
                    <property name="qemu" value="QEMU emulator version 7.2.19"/>
                    <property name="accel" value="tcg"/>
                    <property name="oracle" value="off"/>
                </properties>
                <testcase name="boot" classname="x86_64.smoke" time="1.240">
                    <properties>
                        <property name="free_kib" value="870412"/>
                    </properties>
                </testcase>
                <testcase name="redirect.fuse" classname="x86_64.smoke" time="1.240">
                    <failure message="client 1 stored 0x5a at offset 4096; the server read 0x00" type="fail">smoke/redirect.fuse keeps its promise.
        client 1 stored 0x5a at offset 4096
        the server read 0x00</failure>
                    <system-out>server: page 7 is mapped
        client 1: stored 0x5a</system-out>
                    <system-err>[    1.214001] init: case 2/7 smoke/redirect.fuse</system-err>
                </testcase>
                <testcase name="redirect.cuse" classname="x86_64.smoke">
                    <skipped message="no CUSE on this target"/>
                </testcase>
            </testsuite>
            <testsuite name="x86_64.coherency" tests="2" disabled="0" errors="2" failures="0" time="1.240" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12.117"/>
                    <property name="kernel-hash" value="4f1c"/>
                    <property name="config-hash" value="a0b1"/>
                    <property name="image-hash" value="77aa"/>
                    <property name="compiler" value="gcc (Debian 12.2.0-14+deb12u1) 12.2.0"/>
                    <property name="rustc" value="rustc 1.85.0"/>
                    <property name="qemu" value="QEMU emulator version 7.2.19"/>
                    <property name="accel" value="tcg"/>
                    <property name="oracle" value="off"/>
                </properties>
                <testcase name="ping-pong.fuse" classname="x86_64.coherency">
                    <error message="[    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008" type="crash">coherency/ping-pong.fuse keeps its promise.
        [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008</error>
                    <system-err>[    2.310552] init: case 4/7 coherency/ping-pong.fuse
        [    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
        [    2.514871] Oops: Oops: 0002 [#1] SMP
        [    2.519114] Kernel panic - not syncing: Fatal exception</system-err>
                </testcase>
                <testcase name="seqlock.fuse" classname="x86_64.coherency" time="1.240">
                    <error message="time limit exceeded in phase test: client waits in fuse_dmmap_req_wait" type="timeout">coherency/seqlock.fuse keeps its promise.
        time limit exceeded in phase test: client waits in fuse_dmmap_req_wait</error>
                    <system-out>client 2: waiting for turn 3</system-out>
                </testcase>
            </testsuite>
            <testsuite name="x86_64.drain" tests="2" disabled="0" errors="2" failures="0" time="1.240" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12.117"/>
                    <property name="kernel-hash" value="4f1c"/>
                    <property name="config-hash" value="a0b1"/>
                    <property name="image-hash" value="77aa"/>
                    <property name="compiler" value="gcc (Debian 12.2.0-14+deb12u1) 12.2.0"/>
                    <property name="rustc" value="rustc 1.85.0"/>
                    <property name="qemu" value="QEMU emulator version 7.2.19"/>
                    <property name="accel" value="tcg"/>
                    <property name="oracle" value="off"/>
                </properties>
                <testcase name="limit.cuse" classname="x86_64.drain" time="1.240">
                    <error message="a record of this case did not arrive whole: truncated" type="infra">drain/limit.cuse keeps its promise.
        a record of this case did not arrive whole: truncated</error>
                </testcase>
                <testcase name="exit.fuse" classname="x86_64.drain">
                    <error message="no first record from the guest: the kernel crashed: No working init found." type="boot-fail">drain/exit.fuse keeps its promise.
        no first record from the guest: the kernel crashed: No working init found.</error>
                </testcase>
            </testsuite>
            <testsuite name="arm64.smoke" tests="2" disabled="0" errors="0" failures="0" time="2.480" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12.117"/>
                    <property name="kernel-hash" value="4f1c"/>
                    <property name="config-hash" value="a0b1"/>
                    <property name="image-hash" value="77aa"/>
                    <property name="compiler" value="gcc (Debian 12.2.0-14+deb12u1) 12.2.0"/>
                    <property name="rustc" value="rustc 1.85.0"/>
                    <property name="qemu" value="QEMU emulator version 7.2.19"/>
                    <property name="accel" value="kvm"/>
                    <property name="oracle" value="off"/>
                </properties>
                <testcase name="boot" classname="arm64.smoke" time="1.240">
                </testcase>
                <testcase name="redirect.fuse" classname="arm64.smoke" time="1.240">
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn an_interrupted_run_and_a_target_that_could_not_be_tested() {
        insta::assert_snapshot!(render(&samples::interrupted()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="dmmap-lab" tests="4" failures="0" errors="0" time="131.070">
            <testsuite name="x86_64.smoke" tests="3" disabled="2" errors="0" failures="0" time="1.240" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12.117"/>
                    <property name="kernel-hash" value="4f1c"/>
                    <property name="config-hash" value="a0b1"/>
                    <property name="image-hash" value="77aa"/>
                    <property name="compiler" value="gcc (Debian 12.2.0-14+deb12u1) 12.2.0"/>
                    <property name="rustc" value="rustc 1.85.0"/>
                    <property name="qemu" value="QEMU emulator version 7.2.19"/>
                    <property name="accel" value="tcg"/>
                    <property name="oracle" value="off"/>
                </properties>
                <testcase name="boot" classname="x86_64.smoke" time="1.240">
                </testcase>
                <testcase name="redirect.fuse" classname="x86_64.smoke">
                    <skipped message="interrupted before it ran"/>
                </testcase>
                <testcase name="redirect.cuse" classname="x86_64.smoke">
                    <skipped message="interrupted before it ran"/>
                </testcase>
            </testsuite>
            <testsuite name="x86_64.drain" tests="1" disabled="1" errors="0" failures="0" time="0.000" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12.117"/>
                    <property name="kernel-hash" value="4f1c"/>
                    <property name="config-hash" value="a0b1"/>
                    <property name="image-hash" value="77aa"/>
                    <property name="compiler" value="gcc (Debian 12.2.0-14+deb12u1) 12.2.0"/>
                    <property name="rustc" value="rustc 1.85.0"/>
                    <property name="qemu" value="QEMU emulator version 7.2.19"/>
                    <property name="accel" value="tcg"/>
                    <property name="oracle" value="off"/>
                </properties>
                <testcase name="limit.fuse" classname="x86_64.drain">
                    <skipped message="interrupted before it ran"/>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
        insta::assert_snapshot!(render(&samples::untested()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="dmmap-lab" tests="3" failures="0" errors="3" time="131.070">
            <testsuite name="x86_64.smoke" tests="1" disabled="0" errors="1" failures="0" time="0.000" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12"/>
                </properties>
                <testcase name="boot" classname="x86_64.smoke">
                    <error message="0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112; take it out of kernel-patches/6.12/series or make it fit" type="infra">smoke/boot keeps its promise.
        0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
        take it out of kernel-patches/6.12/series or make it fit</error>
                </testcase>
            </testsuite>
            <testsuite name="x86_64.drain" tests="1" disabled="0" errors="1" failures="0" time="0.000" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12"/>
                </properties>
                <testcase name="limit.fuse" classname="x86_64.drain">
                    <error message="0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112; take it out of kernel-patches/6.12/series or make it fit" type="infra">drain/limit.fuse keeps its promise.
        0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
        take it out of kernel-patches/6.12/series or make it fit</error>
                </testcase>
            </testsuite>
            <testsuite name="x86_64.lab" tests="1" disabled="0" errors="1" failures="0" time="0.000" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12"/>
                </properties>
                <testcase name="target">
                    <error message="0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112; take it out of kernel-patches/6.12/series or make it fit" type="infra">0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112
        take it out of kernel-patches/6.12/series or make it fit</error>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn a_run_without_cases_is_still_a_report() {
        insta::assert_snapshot!(render(&samples::empty()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="dmmap-lab" tests="1" failures="0" errors="1" time="131.070">
            <testsuite name="x86_64.lab" tests="1" disabled="0" errors="1" failures="0" time="0.000" timestamp="2025-11-22T19:33:00Z">
                <properties>
                    <property name="tool" value="0.1.0 (850347e)"/>
                    <property name="flavour" value="default"/>
                    <property name="kernel" value="6.12.117"/>
                    <property name="kernel-hash" value="4f1c"/>
                    <property name="config-hash" value="a0b1"/>
                    <property name="image-hash" value="77aa"/>
                    <property name="compiler" value="gcc (Debian 12.2.0-14+deb12u1) 12.2.0"/>
                    <property name="rustc" value="rustc 1.85.0"/>
                    <property name="qemu" value="QEMU emulator version 7.2.19"/>
                    <property name="accel" value="tcg"/>
                    <property name="oracle" value="off"/>
                </properties>
                <testcase name="target">
                    <error message="no cases to run" type="infra">no cases to run</error>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn characters_that_xml_does_not_allow_are_removed() {
        let mut result = samples::mixed();
        let case = &mut result.targets[0].cases[1];
        case.log = vec!["\x1b[31m]]> <b>\u{0}\u{1b}\u{85}\u{fffe}&amp; \u{7f}end".into()];
        let text = render(&result);
        let out = text.lines().find(|line| line.contains("end</system-out>"));
        insta::assert_snapshot!(out.unwrap().trim(), @"<system-out>]]&gt; &lt;b&gt;&amp;amp; end</system-out>");
    }

    #[test]
    fn oracle_findings_follow_the_reason() {
        let text = render(&samples::watched());
        let id = "armv6/coherency/ping-pong.fuse";
        for words in [
            "<property name=\"oracle\" value=\"user\"/>",
            &format!("\n{id}/1 (once): dirty-elsewhere in physical page 0x4c3f000"),
            &format!("\n{id}/2 (once): "),
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
}
