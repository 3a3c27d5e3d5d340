// SPDX-License-Identifier: MIT OR Apache-2.0
//! CI: the definition of a CI system's jobs, made from the targets. What it makes is committed under `ci/`, and
//! `cargo xtask check` sees that it is up to date.

use crate::target::Target;

/// Whose language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 2] = [Format::Github, Format::Gitlab];

    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Format::Github => "github",
            Format::Gitlab => "gitlab",
        }
    }

    /// Where it is committed, from the root of the checkout.
    pub fn file(self) -> &'static str {
        match self {
            Format::Github => "ci/github.yml",
            Format::Gitlab => "ci/gitlab.yml",
        }
    }

    /// The command that makes it.
    pub fn command(self) -> String {
        format!("cargo xtask ci-matrix --format {}", self.word())
    }

    fn template(self) -> &'static str {
        match self {
            Format::Github => GITHUB,
            Format::Gitlab => GITLAB,
        }
    }
}

/// The jobs for `targets`.
pub(crate) fn render(format: Format, targets: &[Target]) -> String {
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    format
        .template()
        .replace("@SETUP@", GITHUB_SETUP.trim_start())
        .replace("@COMMAND@", &format.command())
        .replace("@INSTALL@", INSTALL)
        .replace("@TARGETS@", &names.join(", "))
}

/// Debian's own cargo; the rest of what a target needs the lab installs itself.
const INSTALL: &str =
    "apt-get install --yes --no-install-recommends ca-certificates cargo gcc git libc6-dev";

/// What every job begins with. GitLab has `before_script` for it.
const GITHUB_SETUP: &str = r#"
      # Before the checkout: without git that would be no repository.
      - name: Install git, gcc and cargo
        run: |
          apt-get update
          @INSTALL@
      - uses: actions/checkout@v4
      # The files belong to the machine's user, not to the container's.
      - run: git config --global --add safe.directory "$PWD""#;

const GITHUB: &str = r#"# SPDX-License-Identifier: MIT OR Apache-2.0
# Made by `@COMMAND@`; do not edit. It belongs at .github/workflows/lab.yml.
name: lab

on: [push, pull_request]

permissions:
  contents: read

defaults:
  run:
    shell: bash

jobs:
  check:
    runs-on: ubuntu-latest
    container: debian:13
    timeout-minutes: 60
    steps:
      @SETUP@
      - run: apt-get install --yes --no-install-recommends rust-clippy rustfmt
      - run: cargo xtask check

  test:
    strategy:
      fail-fast: false
      matrix:
        target: [@TARGETS@]
    name: test ${{ matrix.target }}
    runs-on: ubuntu-latest
    container: debian:13
    timeout-minutes: 180
    env:
      XDG_CACHE_HOME: /var/cache
    steps:
      @SETUP@
      # The key is made of what a kernel is built from, but for what Debian brings: compiler and kernel source. Nor need
      # it fit: the lab finds a kernel by the hash of all its content, so a cache that is out of date costs a build of
      # what changed, and never gives a wrong kernel.
      - uses: actions/cache@v4
        with:
          path: /var/cache/dmmap-lab
          key: lab-${{ matrix.target }}-${{ hashFiles('kernel-patches/**', 'kernel-configs/common.config', 'kernel-configs/queue.config', format('kernel-configs/{0}.*', matrix.target)) }}
          restore-keys: lab-${{ matrix.target }}-
      - run: cargo xtask test --arch ${{ matrix.target }} --report-dir reports/${{ matrix.target }}
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: reports-${{ matrix.target }}
          path: reports/${{ matrix.target }}
      # What no run has used for a week does not go into the next cache.
      - run: cargo xtask clean --older-than 7days
        if: always()

  report:
    needs: test
    if: always()
    runs-on: ubuntu-latest
    container: debian:13
    timeout-minutes: 30
    steps:
      @SETUP@
      - uses: actions/download-artifact@v4
        with:
          pattern: reports-*
          path: reports
      - run: cargo xtask report merge reports --report-dir merged
      - run: cargo xtask report targets merged >> "$GITHUB_STEP_SUMMARY"
        if: always()
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: merged
          path: merged
"#;

const GITLAB: &str = r#"# SPDX-License-Identifier: MIT OR Apache-2.0
# Made by `@COMMAND@`; do not edit. It belongs at .gitlab-ci.yml, or is included there.
stages: [check, test, report]

default:
  image: debian:13
  before_script:
    - apt-get update
    - @INSTALL@
    # The files belong to the runner's user, not to the container's.
    - git config --global --add safe.directory "$CI_PROJECT_DIR"

variables:
  XDG_CACHE_HOME: $CI_PROJECT_DIR/.cache

check:
  stage: check
  timeout: 1 hour
  script:
    - apt-get install --yes --no-install-recommends rust-clippy rustfmt
    - cargo xtask check

test:
  stage: test
  needs: []
  timeout: 3 hours
  parallel:
    matrix:
      - TARGET: [@TARGETS@]
  script:
    - cargo xtask test --arch "$TARGET" --report-dir "reports/$TARGET"
  after_script:
    # What no run has used for a week does not go into the next cache.
    - cargo xtask clean --older-than 7days
  cache:
    # The key is the target alone: `key:files` takes two files, and a kernel is built from many more. It need not say
    # more: the lab finds a kernel by the hash of all its content, so a cache that is out of date costs a build of what
    # changed, and never gives a wrong kernel.
    key: lab-$TARGET
    paths: [.cache/dmmap-lab]
    when: always
  artifacts:
    when: always
    paths: [reports]
    reports:
      junit: reports/*/junit.xml

report:
  stage: report
  needs: [test]
  when: always
  timeout: 30 minutes
  script:
    - cargo xtask report merge reports --report-dir merged
  artifacts:
    when: always
    paths: [merged]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(format: Format) -> String {
        let x86_64 = crate::target::tests::x86_64();
        let mut parisc = x86_64.clone();
        parisc.name = "parisc".into();
        render(format, &[parisc, x86_64])
    }

    #[test]
    fn jobs_for_github() {
        insta::assert_snapshot!(jobs(Format::Github));
    }

    #[test]
    fn jobs_for_gitlab() {
        insta::assert_snapshot!(jobs(Format::Gitlab));
    }

    #[test]
    fn they_are_yaml_and_their_commands_are_commands() {
        use clap::Parser;
        for format in Format::ALL {
            let text = jobs(format);
            let path = std::path::Path::new(format.file());
            crate::yaml::parse::<serde_json::Value>(&text, path).unwrap();
            assert!(
                !text.contains('@') || format == Format::Github,
                "a place is left open"
            );
            let commands = text
                .lines()
                .filter_map(|line| line.split_once("cargo xtask "));
            let commands: Vec<String> = commands
                .map(|(_, words)| {
                    words
                        .replace("${{ matrix.target }}", "x")
                        .replace(['"', '`'], "")
                })
                .map(|words| {
                    words
                        .split([';', '>'])
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                })
                .collect();
            assert!(commands.len() > 4, "{commands:?}");
            for command in commands {
                let words = std::iter::once("xtask").chain(command.split_whitespace());
                crate::cli::Cli::try_parse_from(words).unwrap();
            }
        }
    }

    #[test]
    fn formats_are_named_as_on_the_command_line() {
        use clap::ValueEnum;
        for format in Format::ALL {
            assert_eq!(Format::from_str(format.word(), false), Ok(format));
        }
    }
}
