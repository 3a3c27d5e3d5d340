// SPDX-License-Identifier: MIT OR Apache-2.0
//! Annotations: commands on standard output with which a job of GitHub Actions marks errors. GitHub shows them on the
//! page of the run and in the pull request.
//!
//! Format: <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>

use crate::results::{CaseResult, RunResult, TargetResult};

/// Number of errors that GitHub shows for a step; it ignores the others.
const SHOWN: usize = 10;

/// Renders an error for each target that could not be tested, and for each case that failed, one a line. If there are
/// more than GitHub shows, the last one counts the others.
pub(crate) fn render(result: &RunResult) -> String {
    let mut errors: Vec<String> = result.targets.iter().flat_map(of_target).collect();
    if errors.len() > SHOWN {
        let others = errors.split_off(SHOWN - 1).len();
        errors.push(error(&format!("{others} more errors"), "The reports list all of them."));
    }
    errors.concat()
}

fn of_target(target: &TargetResult) -> Vec<String> {
    let untested = target.untested().map(|why| error(&format!("{}: not tested", target.name), why));
    // Cases that did not run because of that have the same reason.
    let says_more = |case: &&CaseResult| target.failure.is_none() || case.verdict.exit_code() == 1;
    let failed = target.cases.iter().filter(|case| case.verdict.is_failure()).filter(says_more);
    untested.into_iter().chain(failed.map(|case| of_case(&target.name, case))).collect()
}

fn of_case(target: &str, case: &CaseResult) -> String {
    let title = format!("{target}: {} {}", case.id, case.verdict.word());
    let detail = case.verdict.detail().unwrap_or_default();
    error(&title, &format!("{}\n{detail}", case.about))
}

/// Returns the command for one error.
fn error(title: &str, text: &str) -> String {
    let text = escape(text);
    // A title must also hide the characters that separate the parameters of the command.
    let title = escape(title).replace(':', "%3A").replace(',', "%2C");
    format!("::error title={title}::{text}\n")
}

/// Escapes the characters that would end the command.
fn escape(text: &str) -> String {
    text.trim().replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn failed_cases_are_errors() {
        insta::assert_snapshot!(render(&samples::mixed()), @"
        ::error title=x86_64%3A smoke/redirect.fuse fail::smoke/redirect.fuse keeps its promise.%0Aclient 1 stored 0x5a at offset 4096%0Athe server read 0x00
        ::error title=x86_64%3A coherency/ping-pong.fuse crash::coherency/ping-pong.fuse keeps its promise.%0A[    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008
        ::error title=x86_64%3A coherency/seqlock.fuse timeout::coherency/seqlock.fuse keeps its promise.%0Atime limit exceeded in phase test: client waits in fuse_dmmap_req_wait
        ::error title=x86_64%3A drain/limit.cuse infra::drain/limit.cuse keeps its promise.%0Aa record of this case did not arrive whole: truncated
        ::error title=x86_64%3A drain/exit.fuse boot-fail::drain/exit.fuse keeps its promise.%0Ano first record from the guest: the kernel crashed: No working init found.
        ");
    }

    #[test]
    fn a_target_that_could_not_be_tested_is_an_error() {
        insta::assert_snapshot!(render(&samples::untested()), @"
        ::error title=x86_64%3A not tested::0002-fuse-direct-mmap.patch does not apply: fs/fuse/dev.c, line 112%0Atake it out of kernel-patches/6.12/series or make it fit
        ");
    }

    #[test]
    fn the_last_error_counts_those_that_github_does_not_show() {
        let mut result = samples::mixed();
        let failed = result.targets[0].cases[1].clone();
        result.targets[0].cases = vec![failed; 12];
        let errors = render(&result);
        assert_eq!(errors.lines().count(), 10);
        insta::assert_snapshot!(errors.lines().last().unwrap(), @"::error title=3 more errors::The reports list all of them.");
    }

    #[test]
    fn special_characters_are_escaped() {
        insta::assert_snapshot!(error("a: b, 5%", "50 %\nof all: x"), @"::error title=a%3A b%2C 5%25::50 %25%0Aof all: x");
    }
}
