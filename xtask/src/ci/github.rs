// SPDX-License-Identifier: MIT OR Apache-2.0
//! Jobs for GitHub Actions.

use super::actions::ACTIONS;
use super::jobs::{Jobs, NIGHT, is_pushed, quoted};
use super::{ANALYSERS, APT, RUN_NUMBER, TOOLS, fill};

/// Renders the workflow of this repository.
pub(super) fn render(jobs: &Jobs) -> String {
    let schedule = match jobs.has_nightly() || jobs.nightly_flavours().next().is_some() {
        false => String::new(),
        true => format!("\n  schedule:\n    - cron: \"{NIGHT}\""),
    };
    let values = [
        ("@SCHEDULE@", schedule),
        ("@MATRIX@", matrix(jobs)),
        ("@ORACLE@", oracle(jobs)),
        ("@NIGHTLY@", nightly(jobs)),
    ];
    steps(fill(WORKFLOW, &values))
}

/// Replaces the placeholders for steps and actions.
pub(super) fn steps(template: String) -> String {
    let parts = [
        ("@STEPS@", TEST_STEPS),
        ("@MACHINE@", MACHINE),
        ("@CONTAINER@", CONTAINER),
        ("@SETUP@", SETUP),
        ("@ANALYSERS@", ANALYSERS),
        ("@INSTALL@", "@APT@ @TOOLS@"),
        ("@APT@", APT),
        ("@TOOLS@", TOOLS),
    ];
    let parts = parts.map(|(name, text)| (name, text.trim_matches('\n').to_owned()));
    fill(&fill(&template, &parts), &ACTIONS.map(|(name, action)| (name, action.to_owned())))
}

/// Returns the value of `--oracle` for the target of a job.
pub(super) fn oracle(jobs: &Jobs) -> String {
    let names: Vec<String> = jobs.aliasing().iter().map(|name| format!("\"{name}\"")).collect();
    let names = names.join(", ");
    format!("${{{{ contains(fromJSON('[{names}]'), matrix.target) && 'on' || 'auto' }}}}")
}

/// Returns the matrix of the job `test`. At night, all targets are tested with all versions.
fn matrix(jobs: &Jobs) -> String {
    let (all, everywhere) = (jobs.names(|_| true), jobs.everywhere());
    if !jobs.has_nightly() {
        let (targets, kernels) = ("        target", "        kernel");
        return format!("\n{targets}: [{}]\n{kernels}: [{everywhere}]", all.join(", "));
    }
    let all: Vec<String> = all.iter().map(|name| format!("\"{name}\"")).collect();
    let all = all.join(", ");
    let kernels: Vec<String> = jobs.kernels.iter().map(|kernel| quoted(kernel)).collect();
    let limited = jobs.kernels.iter().filter(|kernel| kernel.push.is_some());
    let pairs = limited.flat_map(|kernel| {
        let names = jobs.names(|name| is_pushed(kernel, name)).into_iter();
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

/// Returns the job that tests flavours at night, or nothing if no flavour is tested.
fn nightly(jobs: &Jobs) -> String {
    let rows: Vec<String> = jobs
        .nightly_flavours()
        .map(|(flavour, options)| {
            let options = options.replace(RUN_NUMBER, "{0}");
            format!("          - {{ flavour: {flavour}, options: \"{options}\" }}")
        })
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => fill(NIGHTLY, &[("@ROWS@", rows.join("\n"))]),
    }
}

/// Job that finds out whether the runners have KVM. A container without the device cannot start with `--device`.
const MACHINE: &str = r#"
  # Runners with the same label are alike, so what this one has, the others have too.
  machine:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    permissions: {}
    outputs:
      container: ${{ steps.kvm.outputs.container }}
    steps:
      - name: Look for KVM
        id: kvm
        run: if [ -e /dev/kvm ]; then echo "container=--device /dev/kvm" >> "$GITHUB_OUTPUT"; fi
"#;

/// Machine of every job that boots guests.
const CONTAINER: &str = r#"
    runs-on: ubuntu-latest
    container:
      image: debian:13
      options: ${{ needs.machine.outputs.container }}
    permissions:
      contents: read
    env:
      XDG_CACHE_HOME: /var/cache
"#;

/// First steps of every job in a container. GitLab runs the same steps as its `before_script`.
const SETUP: &str = r#"
      # Git must come before the checkout: without it, actions/checkout downloads the files but creates no repository.
      - name: Install git, gcc and cargo
        run: |
          apt-get update
          @INSTALL@
      - uses: @CHECKOUT@
        with:
          persist-credentials: false
      # The files belong to the user of the machine, not to the user of the container.
      - run: git config --global --add safe.directory "$PWD"
"#;

/// Steps that run `cargo xtask test` with the options in `OPTIONS`.
const TEST_STEPS: &str = r#"
      # A finished kernel needs neither source nor build directory, so nothing else is worth its space in the cache.
      - name: Compute the key of the kernels
        id: key
        run: |
          read -ra options <<< "$OPTIONS"
          key=$(cargo xtask test --print-key "${options[@]}")
          echo "key=$key" >> "$GITHUB_OUTPUT"
      - uses: @RESTORE@
        id: cache
        with:
          path: /var/cache/dmmap-lab/kernels
          key: kernels-${{ steps.key.outputs.key }}
      - name: Test
        run: |
          read -ra options <<< "$OPTIONS"
          cargo xtask test "${options[@]}" --report-dir reports
      - uses: @SAVE@
        if: always() && steps.key.outcome == 'success' && steps.cache.outputs.cache-hit != 'true'
        with:
          path: /var/cache/dmmap-lab/kernels
          key: kernels-${{ steps.key.outputs.key }}
      - name: Annotate the failed cases
        if: failure()
        run: cargo xtask report annotations reports
"#;

const WORKFLOW: &str = r#"# SPDX-License-Identifier: MIT OR Apache-2.0
# Generated by `@COMMAND@`; do not edit. Copy it to .github/workflows/lab.yml.
name: lab

on:
  # A branch with a pull request is tested by the event pull_request.
  push:
    branches: [main, master]
  pull_request:
  workflow_dispatch:@SCHEDULE@

permissions: {}

# A new push to a pull request replaces the jobs of the one before it.
concurrency:
  group: ${{ github.workflow }}-${{ github.event_name }}-${{ github.ref }}
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}

defaults:
  run:
    shell: bash

jobs:
  check:
    runs-on: ubuntu-latest
    container: debian:13
    timeout-minutes: 60
    permissions:
      contents: read
    steps:
@SETUP@
      - run: @APT@ python3-venv rust-clippy rustfmt
      - run: cargo xtask check

  # Checks the patches that a pull request adds or changes.
  queue:
    if: github.event_name == 'pull_request'
    runs-on: ubuntu-latest
    container: debian:13
    timeout-minutes: 360
    permissions:
      contents: read
    env:
      BASE: ${{ github.event.pull_request.base.sha }}
    steps:
@SETUP@
      - run: git fetch --depth=1 origin "$BASE"
      - run: @APT@ @ANALYSERS@
      - run: cargo xtask queue check --kernel all --since "$BASE" --report-dir reports
      - uses: @UPLOAD@
        if: always()
        with:
          name: queue-check
          path: reports

@MACHINE@

  test:
    needs: machine
    strategy:
      fail-fast: false
      matrix:@MATRIX@
    name: test ${{ matrix.target }} ${{ matrix.kernel }}
    timeout-minutes: 180
@CONTAINER@
      # Where caches alias, a QEMU that cannot run the oracle is an error.
      OPTIONS: --arch ${{ matrix.target }} --kernel ${{ matrix.kernel }} --oracle @ORACLE@
    steps:
@SETUP@
@STEPS@
      - uses: @UPLOAD@
        if: always()
        with:
          name: reports-${{ matrix.target }}-${{ matrix.kernel }}
          path: reports
      # Logs, findings and qemu.sh of each boot.
      - uses: @UPLOAD@
        if: failure()
        with:
          name: failed-${{ matrix.target }}-${{ matrix.kernel }}
          path: target/lab/latest/
          if-no-files-found: ignore
@NIGHTLY@
  report:
    needs: test
    if: ${{ !cancelled() }}
    runs-on: ubuntu-latest
    container: debian:13
    timeout-minutes: 30
    permissions:
      contents: read
    steps:
@SETUP@
      - uses: @DOWNLOAD@
        with:
          pattern: reports-*
          path: reports
      - run: cargo xtask report merge reports --report-dir merged
      - run: cargo xtask report targets merged >> "$GITHUB_STEP_SUMMARY"
        if: always()
      - uses: @UPLOAD@
        if: always()
        with:
          name: merged
          path: merged
"#;

const NIGHTLY: &str = r#"
  # Tests flavours and slow suites at night. Their results are not part of the report.
  nightly:
    if: github.event_name == 'schedule'
    needs: machine
    strategy:
      fail-fast: false
      matrix:
        include:
@ROWS@
    name: nightly ${{ matrix.flavour }} ${{ matrix.options }}
    timeout-minutes: 360
@CONTAINER@
      OPTIONS: --flavour ${{ matrix.flavour }} ${{ format(matrix.options, github.run_number) }}
    steps:
@SETUP@
@STEPS@
      - uses: @UPLOAD@
        if: always()
        with:
          name: nightly-${{ matrix.flavour }}-${{ strategy.job-index }}
          path: reports
      - uses: @UPLOAD@
        if: failure()
        with:
          name: failed-nightly-${{ matrix.flavour }}-${{ strategy.job-index }}
          path: target/lab/latest/
          if-no-files-found: ignore
"#;
