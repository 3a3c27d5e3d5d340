// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands in the documents are commands of the lab: each line of a shell block has to parse as one.
//!
//! A block that is something else says why in its first line: ```` ```sh not-checked: needs a mailing list ````.
//!
//! The table of targets has a row for each target there is.

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::report::targets;
use crate::target::Target;

const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];

const NOT_CHECKED: &str = "not-checked:";

/// What a document holds.
#[derive(Debug, Default)]
pub struct Examined {
    /// Commands that were looked at.
    pub commands: usize,
    /// What is wrong, each with file and line.
    pub problems: Vec<String>,
}

/// Looks at the shell blocks of the document `name`, whose text is `markdown`.
pub fn examine(name: &str, markdown: &str) -> Examined {
    let mut examined = Examined::default();
    let mut lines = markdown.lines().zip(1..);
    while let Some((fence, at)) = lines.next() {
        let Some(about) = fence.trim_start().strip_prefix("```") else {
            continue;
        };
        let block: Vec<(&str, usize)> = lines
            .by_ref()
            .take_while(|(line, _)| !line.trim_start().starts_with("```"))
            .collect();
        match wanted(about) {
            Ok(false) => continue,
            Err(problem) => examined.problems.push(format!("{name}:{at}: {problem}")),
            Ok(true) => {
                for (command, at) in commands(&block) {
                    examined.commands += 1;
                    if let Err(problem) = parse(&command) {
                        let problem = format!("{name}:{at}: `{command}`: {problem}");
                        examined.problems.push(problem);
                    }
                }
            }
        }
    }
    examined
}

/// Whether a block with these words after its fence holds commands to check.
fn wanted(about: &str) -> Result<bool, String> {
    let (language, rest) = about.split_once(' ').unwrap_or((about, ""));
    if !SHELLS.contains(&language) {
        return Ok(false);
    }
    match rest.trim() {
        "" => Ok(true),
        rest => match rest.strip_prefix(NOT_CHECKED).map(str::trim) {
            Some("") => Err(format!("`{NOT_CHECKED}` wants a reason")),
            Some(_) => Ok(false),
            None => Err(format!(
                "`{rest}`: after the language only `{NOT_CHECKED} REASON`"
            )),
        },
    }
}

/// The commands of a block with their line numbers: continued lines joined, comments, prompts and blanks gone.
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

fn parse(command: &str) -> Result<(), String> {
    let is_variable = |word: &&str| word.contains('=') && !word.starts_with('-');
    let mut words = command.split_whitespace().skip_while(is_variable);
    if (words.next(), words.next()) != (Some("cargo"), Some("xtask")) {
        return Err("not a `cargo xtask` command".into());
    }
    // Where its output goes is the shell's business.
    let words = words.take_while(|word| *word != ">");
    let unquoted = words.map(|word| word.trim_matches(['\'', '"']));
    match Cli::try_parse_from(std::iter::once("xtask").chain(unquoted)) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(()),
            _ => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or("");
                Err(first.trim_start_matches("error: ").to_owned())
            }
        },
    }
}

/// What is wrong with the rows of the table of targets in the document `name`.
pub fn target_rows(name: &str, markdown: &str, all: &[Target]) -> Vec<String> {
    let rows = match targets::rows(markdown) {
        Ok(rows) => rows,
        Err(problem) => return vec![format!("{name}: {problem}")],
    };
    let command = format!("cargo xtask report targets --write {name}");
    let missing = all.iter().filter(|t| !rows.contains(&t.name.as_str()));
    let missing =
        missing.map(|t| format!("{name}: no row for the target {}; run: {command}", t.name));
    let stale = rows
        .iter()
        .filter(|row| all.iter().all(|t| t.name != **row));
    let stale =
        stale.map(|row| format!("{name}: a row for {row}, which is no target; run: {command}"));
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(markdown: &str) -> String {
        examine("README.md", markdown).problems.join("\n")
    }

    #[test]
    fn commands_that_exist_pass() {
        let text = "# Title\n\
            ```sh\n\
            # All of it.\n\
            cargo xtask test --arch x86_64   # ten minutes\n\
            \n\
            $ XDG_CACHE_HOME=/tmp/cache cargo xtask test \\\n\
                --suite 'smoke'\n\
            cargo xtask --help > help.txt\n\
            ```\n\
            ```text\nrm -rf /\n```\n\
            ```sh not-checked: needs a clone\ngit clone x\n```\n";
        let examined = examine("README.md", text);
        assert_eq!(examined.problems, [""; 0]);
        assert_eq!(examined.commands, 3);
    }

    #[test]
    fn commands_that_do_not_exist_are_reported_with_their_line() {
        insta::assert_snapshot!(problems("```sh\ncargo xtask fly\n```"), @"README.md:2: `cargo xtask fly`: unrecognized subcommand 'fly'");
        insta::assert_snapshot!(problems("\n```sh\ncargo xtask check\ncargo xtask test \\\n  --speed\n```"), @"README.md:4: `cargo xtask test --speed`: unexpected argument '--speed' found");
        insta::assert_snapshot!(problems("```console\n$ make\n```"), @"README.md:2: `make`: not a `cargo xtask` command");
    }

    #[test]
    fn a_block_is_left_out_only_for_a_reason() {
        insta::assert_snapshot!(problems("```sh not-checked:\nmake\n```"), @"README.md:1: `not-checked:` wants a reason");
        insta::assert_snapshot!(problems("```sh ignore\nmake\n```"), @"README.md:1: `ignore`: after the language only `not-checked: REASON`");
    }

    #[test]
    fn every_target_has_a_row() {
        let x86_64 = crate::target::tests::x86_64();
        let parisc = Target {
            name: "parisc".into(),
            ..x86_64.clone()
        };
        let readme = |targets: &[Target]| {
            let table = targets::table(targets, &crate::report::samples::mixed());
            format!("{}\n{table}{}\n", targets::BEGIN, targets::END)
        };
        let problems = |text: &str, all: &[Target]| target_rows("README.md", text, all).join("\n");
        let all = [parisc, x86_64];
        assert_eq!(problems(&readme(&all), &all), "");
        insta::assert_snapshot!(problems(&readme(&all[1..]), &all), @"README.md: no row for the target parisc; run: cargo xtask report targets --write README.md");
        insta::assert_snapshot!(problems(&readme(&all), &all[1..]), @"README.md: a row for parisc, which is no target; run: cargo xtask report targets --write README.md");
        insta::assert_snapshot!(problems("# Title", &all), @"README.md: no line `<!-- targets: begin -->` with a line `<!-- targets: end -->` after it");
    }
}
