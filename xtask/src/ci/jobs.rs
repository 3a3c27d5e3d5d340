// SPDX-License-Identifier: MIT OR Apache-2.0
//! Choice of what CI tests: some pairs of target and kernel version on each push, all others and some flavours at night.

use crate::flavour::Flavour;
use crate::kernel_version::KernelVersion;
use crate::target::Target;

/// Time of the nightly jobs, in the format of cron.
const NIGHT: &str = "17 1 * * *";

/// Start of every GitLab job that only scheduled pipelines have.
pub(super) const GITLAB_SCHEDULED: &str = r#"  extends: test
  rules:
    - if: $CI_PIPELINE_SOURCE == "schedule"
  parallel:
    matrix:"#;

const GITLAB_NIGHTLY: &str = r#"
# Runs in scheduled pipelines, in addition to the other jobs.
nightly:
@SCHEDULED@
@MATRIX@
"#;

const GITLAB_FLAVOURS: &str = r#"
# Tests flavours in scheduled pipelines. Their results are not part of the report.
flavours:
@SCHEDULED@
@MATRIX@
  script:
    - cargo xtask test --flavour "$FLAVOUR" $OPTIONS --report-dir "reports/$FLAVOUR"
  cache:
    key: lab-flavour-$FLAVOUR
"#;

const GITHUB_FLAVOURS: &str = r#"
  # Tests flavours at night. Their results are not part of the report.
  flavours:
    if: github.event_name == 'schedule'
    strategy:
      fail-fast: false
      matrix:
        include:
@MATRIX@
    name: test flavour ${{ matrix.flavour }} ${{ matrix.options }}
    @TEST_MACHINE@
      - uses: actions/cache@v4
        with:
          path: /var/cache/dmmap-lab
          key: lab-flavour-${{ matrix.flavour }}-${{ hashFiles('kernel-patches/**', 'kernel-configs/**') }}
          restore-keys: lab-flavour-${{ matrix.flavour }}-
      - run: cargo xtask test --flavour ${{ matrix.flavour }} ${{ matrix.options }} --report-dir reports
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: flavour-${{ matrix.flavour }}-${{ strategy.job-index }}
          path: reports
      - run: cargo xtask clean --older-than 7days
        if: always()
"#;

/// Returns true if each push tests `target` with the version `kernel`.
pub(super) fn is_pushed(kernel: &KernelVersion, target: &str) -> bool {
    kernel.push.as_ref().is_none_or(|push| push.iter().any(|name| name == target))
}

/// Targets, the versions to test on them, and flavours.
pub(super) struct Jobs<'a> {
    pub targets: &'a [Target],
    pub kernels: Vec<&'a KernelVersion>,
    pub flavours: &'a [Flavour],
}

impl Jobs<'_> {
    /// Returns the names of the targets that are tested with `kernel`, as far as `selected` is true.
    fn names(&self, selected: impl Fn(&str) -> bool) -> Vec<&str> {
        let names = self.targets.iter().map(|target| target.name.as_str());
        names.filter(|name| selected(name)).collect()
    }

    /// Returns the versions that each push tests on all targets.
    fn everywhere(&self) -> String {
        let kernels = self.kernels.iter().filter(|kernel| kernel.push.is_none());
        kernels.map(|kernel| quoted(kernel)).collect::<Vec<_>>().join(", ")
    }

    /// Returns true if there are pairs of target and version that a push does not test.
    fn has_nightly(&self) -> bool {
        self.kernels.iter().any(|kernel| !self.names(|name| !is_pushed(kernel, name)).is_empty())
    }

    pub(super) fn github_events(&self) -> String {
        match self.has_nightly() || self.nightly_flavours().next().is_some() {
            false => "on: [push, pull_request]".into(),
            true => format!("on:\n  push:\n  pull_request:\n  schedule:\n    - cron: \"{NIGHT}\""),
        }
    }

    /// Returns the matrix of the job `test`. At night, all targets are tested with all versions.
    pub(super) fn github_matrix(&self) -> String {
        let (all, everywhere) = (self.names(|_| true).join(", "), self.everywhere());
        if !self.has_nightly() {
            let (targets, kernels) = ("        target", "        kernel");
            return format!("\n{targets}: [{all}]\n{kernels}: [{everywhere}]");
        }
        let quote = |names: Vec<&str>| -> String {
            names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
        };
        let all = quote(self.names(|_| true));
        let kernels: Vec<String> = self.kernels.iter().map(|kernel| quoted(kernel)).collect();
        let limited = self.kernels.iter().filter(|kernel| kernel.push.is_some());
        let pairs = limited.flat_map(|kernel| {
            let names = self.names(|name| is_pushed(kernel, name)).into_iter();
            names.map(|name| format!("{{\"target\": \"{name}\", \"kernel\": {}}}", quoted(kernel)))
        });
        let pairs: Vec<String> = pairs.collect();
        format!(
            " >-\n        ${{{{ fromJSON(github.event_name == 'schedule'\n        \
             && '{{\"target\": [{all}], \"kernel\": [{}]}}'\n        \
             || '{{\"target\": [{all}], \"kernel\": [{everywhere}], \"include\": [{}]}}') }}}}",
            kernels.join(", "),
            pairs.join(", ")
        )
    }

    /// Returns the entries of a matrix with the pairs of version and target that are `selected`.
    pub(super) fn gitlab_matrix(&self, selected: impl Fn(&KernelVersion, &str) -> bool) -> String {
        let mut rows: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
        for kernel in &self.kernels {
            let names = self.names(|name| selected(kernel, name));
            match rows.iter_mut().find(|(targets, _)| *targets == names) {
                _ if names.is_empty() => {}
                Some((_, kernels)) => kernels.push(quoted(kernel)),
                None => rows.push((names, vec![quoted(kernel)])),
            }
        }
        let row = |(targets, kernels): &(Vec<&str>, Vec<String>)| {
            format!(
                "      - TARGET: [{}]\n        KERNEL: [{}]",
                targets.join(", "),
                kernels.join(", ")
            )
        };
        rows.iter().map(row).collect::<Vec<_>>().join("\n")
    }

    /// Returns the job that scheduled pipelines run in addition to those of a push.
    pub(super) fn gitlab_nightly(&self) -> String {
        match self.has_nightly() {
            false => String::new(),
            true => GITLAB_NIGHTLY.replace(
                "@MATRIX@",
                &self.gitlab_matrix(|kernel, target| !is_pushed(kernel, target)),
            ),
        }
    }

    /// Returns the flavours that nightly jobs test, each with the options of a job.
    fn nightly_flavours(&self) -> impl Iterator<Item = (&str, &str)> {
        self.flavours.iter().flat_map(|flavour| {
            let options = flavour.nightly.iter();
            options.map(|options| (flavour.name.as_str(), options.as_str()))
        })
    }

    /// Returns `template` with a row for each job of a flavour, or nothing if there is no such job.
    fn flavours(&self, template: &str, row: impl Fn((&str, &str)) -> String) -> String {
        let rows: Vec<String> = self.nightly_flavours().map(row).collect();
        match rows.is_empty() {
            true => String::new(),
            false => template.replace("@MATRIX@", &rows.join("\n")),
        }
    }

    pub(super) fn github_flavours(&self) -> String {
        self.flavours(GITHUB_FLAVOURS, |(flavour, options)| {
            format!("          - {{ flavour: {flavour}, options: \"{options}\" }}")
        })
    }

    pub(super) fn gitlab_flavours(&self) -> String {
        self.flavours(GITLAB_FLAVOURS, |(flavour, options)| {
            format!("      - FLAVOUR: {flavour}\n        OPTIONS: \"{options}\"")
        })
    }

    /// Returns the jobs that the report waits for.
    pub(super) fn gitlab_needs(&self) -> String {
        match self.has_nightly() {
            false => "[test]".into(),
            true => "[test, { job: nightly, optional: true }]".into(),
        }
    }

    /// Returns the commands that test what each push tests. The oracle watches the targets whose data caches alias.
    pub(super) fn commands(&self) -> String {
        let command = |kernel: &&KernelVersion| {
            let pushed: Vec<&Target> =
                self.targets.iter().filter(|target| is_pushed(kernel, &target.name)).collect();
            let names: Vec<&str> = pushed.iter().map(|target| target.name.as_str()).collect();
            let arch = match names.len() == self.targets.len() {
                true => "all".into(),
                false => names.join(","),
            };
            let aliases = pushed.iter().any(|target| target.cache.aliases());
            let oracle = if aliases { " --oracle on" } else { "" };
            let version = match kernel.default {
                true => String::new(),
                false => format!(" --kernel {}", kernel.version),
            };
            let command = format!("cargo xtask test --arch {arch}{version}{oracle}");
            (!names.is_empty()).then_some(command)
        };
        self.kernels.iter().filter_map(command).collect::<Vec<_>>().join("\n")
    }
}

/// Returns the version in quotes. Without quotes, YAML would read it as a number.
fn quoted(kernel: &KernelVersion) -> String {
    format!("\"{}\"", kernel.version)
}
