// SPDX-License-Identifier: MIT OR Apache-2.0
//! Check that the commands in the documents work. Each line of a shell block must parse as a command of the lab, and must
//! be run by this check or by CI.
//!
//! If the commands of a block are not run, its first line states the reason: ```` ```sh not-run: takes an hour ````.
//! The same holds for commands of other programs: ```` ```sh not-checked: needs a mailing list ````.
//!
//! Also checks that the table of targets has a row for each target.

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::{Cli, Command, Queue};
use crate::report::targets;
use crate::target::Target;

const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];

/// Treatment of the commands of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// They must parse, and they must be run.
    Run,
    /// They must parse.
    NotRun,
    /// They are ignored.
    NotChecked,
}

const WORDS: [(&str, Kind); 2] = [("not-run:", Kind::NotRun), ("not-checked:", Kind::NotChecked)];

/// A command that this check runs. Such a command only prints something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToRun {
    /// Location as `FILE:LINE`.
    pub place: String,
    /// Text of the command in the document.
    pub command: String,
    /// Arguments of `cargo xtask`.
    pub words: Vec<String>,
}

/// Commands of a document.
#[derive(Debug, Default)]
pub(super) struct Examined {
    /// Number of commands that were checked.
    pub commands: usize,
    /// Commands that must be run.
    pub to_run: Vec<ToRun>,
    /// Problems, each with file and line.
    pub problems: Vec<String>,
}

/// Checks the shell blocks of the document `name` with the text `markdown`. `by_ci` is the script that CI runs.
pub(super) fn examine(name: &str, markdown: &str, by_ci: &str) -> Examined {
    let mut examined = Examined::default();
    let mut lines = markdown.lines().zip(1..);
    while let Some((fence, at)) = lines.next() {
        let Some(about) = fence.trim_start().strip_prefix("```") else {
            continue;
        };
        let block: Vec<(&str, usize)> =
            lines.by_ref().take_while(|(line, _)| !line.trim_start().starts_with("```")).collect();
        let kind = match kind(about) {
            Ok(Some(kind)) => kind,
            Ok(None) => continue,
            Err(problem) => {
                examined.problems.push(format!("{name}:{at}: {problem}"));
                continue;
            }
        };
        if kind != Kind::NotChecked {
            for (command, at) in commands(&block) {
                examined.command(format!("{name}:{at}"), command, kind, by_ci);
            }
        }
    }
    examined
}

impl Examined {
    fn command(&mut self, place: String, command: String, kind: Kind, by_ci: &str) {
        self.commands += 1;
        let problem = match parse(&command) {
            Err(problem) => problem,
            Ok(_) if kind == Kind::NotRun || runs(by_ci, &command) => return,
            Ok((words, true)) => {
                return self.to_run.push(ToRun { place, command, words });
            }
            Ok((_, false)) => "neither this check nor .ci/run runs it; add the reason as \
                               `not-run: REASON` after the language of the block"
                .into(),
        };
        self.problems.push(format!("{place}: `{command}`: {problem}"));
    }
}

/// Returns true if the script runs the command, regardless of the options `--arch` and `--oracle`.
fn runs(script: &str, command: &str) -> bool {
    let bare = |line: &str| {
        let mut words: Vec<_> = line.split_whitespace().collect();
        for option in ["--arch", "--oracle"] {
            if let Some(at) = words.iter().position(|word| *word == option) {
                words.drain(at..words.len().min(at + 2));
            }
        }
        words.join(" ")
    };
    script.lines().any(|line| bare(line) == bare(command))
}

/// Parses the text after a fence. Returns `None` for a block that is not a shell block.
fn kind(about: &str) -> Result<Option<Kind>, String> {
    let (language, rest) = about.split_once(' ').unwrap_or((about, ""));
    if !SHELLS.contains(&language) {
        return Ok(None);
    }
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(Some(Kind::Run));
    }
    for (word, kind) in WORDS {
        match rest.strip_prefix(word).map(str::trim) {
            Some("") => return Err(format!("`{word}` needs a reason")),
            Some(_) => return Ok(Some(kind)),
            None => {}
        }
    }
    let words = WORDS.map(|(word, _)| format!("`{word} REASON`")).join(" or ");
    Err(format!("`{rest}`: expected {words} after the language"))
}

/// Returns the commands of a block with their line numbers. Joins continued lines, and removes comments, prompts and empty
/// lines.
fn commands(block: &[(&str, usize)]) -> Vec<(String, usize)> {
    let mut commands: Vec<(String, usize)> = Vec::new();
    let mut continued = false;
    for &(line, at) in block {
        let line = line.trim();
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let line = match line.starts_with('#') {
            true => "",
            false => line.split_once(" #").map_or(line, |(command, _)| command),
        };
        let open = line.ends_with('\\');
        let line = line.trim_end_matches('\\').trim();
        match commands.last_mut() {
            Some((command, _)) if continued => {
                command.push(' ');
                command.push_str(line);
            }
            _ if line.is_empty() => {}
            _ => commands.push((line.to_owned(), at)),
        }
        continued = open;
    }
    commands
}

/// Returns the arguments of `cargo xtask`, and true if the command only prints something.
fn parse(command: &str) -> Result<(Vec<String>, bool), String> {
    let is_variable = |word: &&str| word.contains('=') && !word.starts_with('-');
    let mut words = command.split_whitespace().skip_while(is_variable);
    if (words.next(), words.next()) != (Some("cargo"), Some("xtask")) {
        return Err("not a `cargo xtask` command".into());
    }
    // The shell handles a redirection of the output.
    let words = words.take_while(|word| *word != ">");
    let unquoted = words.map(|word| word.trim_matches(['\'', '"']).to_owned());
    let words: Vec<String> = unquoted.collect();
    let whole = std::iter::once("xtask").chain(words.iter().map(String::as_str));
    match Cli::try_parse_from(whole) {
        Ok(cli) => Ok((words, only_prints(&cli.command))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok((words, true)),
            _ => {
                let text = error.to_string();
                Err(text.lines().next().unwrap_or("").trim_start_matches("error: ").to_owned())
            }
        },
    }
}

fn only_prints(command: &Command) -> bool {
    match command {
        Command::List { .. } | Command::CiMatrix { .. } => true,
        Command::Completions { .. } | Command::Config => true,
        Command::Schema { write, .. } => !write,
        Command::Test(test) => test.dry_run,
        Command::Queue(Queue::Check(check)) => check.dry_run,
        Command::Boot(args) | Command::Gdb(args) => args.dry_run,
        _ => false,
    }
}

/// Returns the problems with the rows of the table of targets in the document `name`.
pub(super) fn target_rows(name: &str, markdown: &str, all: &[Target]) -> Vec<String> {
    let rows = match targets::listed_targets(markdown) {
        Ok(rows) => rows,
        Err(problem) => return vec![format!("{name}: {problem}")],
    };
    let command = format!("cargo xtask report targets --write {name}");
    let missing = all.iter().filter(|t| !rows.contains(&t.name.as_str()));
    let missing =
        missing.map(|t| format!("{name}: no row for the target {}; run: {command}", t.name));
    let stale = rows.iter().filter(|row| all.iter().all(|t| t.name != **row));
    let stale =
        stale.map(|row| format!("{name}: a row for {row}, which is not a target; run: {command}"));
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CI: &str = "set -e\ncargo xtask check\ncargo xtask test --arch all\n";

    fn problems(markdown: &str) -> String {
        examine("README.md", markdown, CI).problems.join("\n")
    }

    #[test]
    fn commands_that_are_run_pass() {
        let text = "# Title\n\
            ```sh\n\
            # All of it.\n\
            cargo xtask test   # ten minutes\n\
            \n\
            $ XDG_CACHE_HOME=/tmp/cache cargo xtask test \\\n\
                --suite 'smoke' --dry-run\n\
            cargo xtask --help > help.txt\n\
            ```\n\
            ```text\nrm -rf /\n```\n\
            ```sh not-run: takes an hour\ncargo xtask bench\n```\n\
            ```sh not-checked: needs a clone\ngit clone x\n```\n";
        let examined = examine("README.md", text, CI);
        assert_eq!(examined.problems, [""; 0]);
        assert_eq!(examined.commands, 4);
        let to_run: Vec<String> = examined
            .to_run
            .iter()
            .map(|run| format!("{} {}", run.place, run.words.join(" ")))
            .collect();
        assert_eq!(to_run, ["README.md:6 test --suite smoke --dry-run", "README.md:8 --help"]);
    }

    #[test]
    fn commands_that_do_not_exist_are_reported_with_their_line() {
        insta::assert_snapshot!(problems("```sh\ncargo xtask fly\n```"), @"README.md:2: `cargo xtask fly`: unrecognized subcommand 'fly'");
        insta::assert_snapshot!(problems("\n```sh\ncargo xtask check\ncargo xtask test \\\n  --speed\n```"), @"README.md:4: `cargo xtask test --speed`: unexpected argument '--speed' found");
        insta::assert_snapshot!(problems("```console\n$ make\n```"), @"README.md:2: `make`: not a `cargo xtask` command");
    }

    #[test]
    fn a_command_that_is_never_run_is_reported() {
        insta::assert_snapshot!(problems("```sh\ncargo xtask test --suite smoke\n```"), @"README.md:2: `cargo xtask test --suite smoke`: neither this check nor .ci/run runs it; add the reason as `not-run: REASON` after the language of the block");
    }

    #[test]
    fn a_block_is_exempt_only_with_a_reason() {
        insta::assert_snapshot!(problems("```sh not-checked:\nmake\n```"), @"README.md:1: `not-checked:` needs a reason");
        insta::assert_snapshot!(problems("```sh not-run:\nmake\n```"), @"README.md:1: `not-run:` needs a reason");
        insta::assert_snapshot!(problems("```sh ignore\nmake\n```"), @"README.md:1: `ignore`: expected `not-run: REASON` or `not-checked: REASON` after the language");
    }

    #[test]
    fn every_target_has_a_row() {
        let x86_64 = crate::target::tests::x86_64();
        let parisc = Target { name: "parisc".into(), ..x86_64.clone() };
        let readme = |targets: &[Target]| {
            let table = targets::table(targets, &crate::report::samples::mixed());
            format!("{}\n{table}{}\n", targets::BEGIN, targets::END)
        };
        let problems = |text: &str, all: &[Target]| target_rows("README.md", text, all).join("\n");
        let all = [parisc, x86_64];
        assert_eq!(problems(&readme(&all), &all), "");
        insta::assert_snapshot!(problems(&readme(&all[1..]), &all), @"README.md: no row for the target parisc; run: cargo xtask report targets --write README.md");
        insta::assert_snapshot!(problems(&readme(&all), &all[1..]), @"README.md: a row for parisc, which is not a target; run: cargo xtask report targets --write README.md");
        insta::assert_snapshot!(problems("# Title", &all), @"README.md: expected a line `<!-- targets: begin -->` followed by a line `<!-- targets: end -->`");
    }
}
