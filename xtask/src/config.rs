// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration files: default options of commands. `lab.toml` in the checkout takes precedence over `config.toml` in the
//! user's configuration directory, and the command line over both.
//!
//! The options of the files become words of the command line, so they have the values, the checks and the error messages
//! that they have there.

mod file;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::cli::{self, Cli};
use crate::text::columns::columns;
use file::File;

/// Default option of a command.
#[derive(Clone, Debug, PartialEq)]
struct DefaultOption {
    /// Long name.
    option: String,
    value: toml::Value,
    /// File and table that it comes from.
    origin: String,
}

/// Parses the command line `words`, with the default options of the configuration files.
///
/// # Errors
/// A configuration file is wrong. The inner error is one of the command line, or a request for help.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Result<Cli, clap::Error>> {
    let words: Vec<OsString> = words.into_iter().collect();
    Ok(with_files(&words, &paths()?)?.map(|(cli, words)| {
        cli::set_words(words);
        cli
    }))
}

/// Returns the paths of the configuration files that may exist, the one with precedence first.
fn paths() -> Result<Vec<PathBuf>> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let user = user.map(|dir| dir.join("dmmap-lab/config.toml"));
    Ok(std::iter::once(crate::paths::checkout().join("lab.toml")).chain(user).collect())
}

/// Parses `words` with the options of the files, and returns the words with these options too.
fn with_files(
    words: &[OsString],
    paths: &[PathBuf],
) -> Result<Result<(Cli, Vec<OsString>), clap::Error>> {
    let mut command = Cli::command();
    let matches = match command.try_get_matches_from_mut(words) {
        Ok(matches) => matches,
        Err(error) => return Ok(Err(error)),
    };
    let files = File::read_all(paths, &command)?;
    let profile = profile(&matches, &files)?;
    let (path, matches, command) = innermost(&matches, &command);
    let defaults = defaults(&files, profile, &path, &command);
    let added: Vec<&DefaultOption> =
        defaults.iter().filter(|default| applies(default, matches, &command)).collect();
    if added.is_empty() {
        return Ok(Cli::try_parse_from_words(words).map(|cli| (cli, words.to_vec())));
    }
    let mut all = words.to_vec();
    let at = position(words, &path);
    let options = added.iter().map(|default| default.words(&command));
    let options = options.collect::<Result<Vec<_>>>()?;
    all.splice(at..at, options.into_iter().flatten().map(OsString::from));
    let parsed = Cli::try_parse_from_words(&all).map_err(|error| {
        let text = error.to_string();
        let text = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let mut origins: Vec<&str> = added.iter().map(|default| &*default.origin).collect();
        origins.dedup();
        anyhow!("{text}, with the options of {}", origins.join(" and "))
    })?;
    Ok(Ok((parsed, all)))
}

impl Cli {
    fn try_parse_from_words(words: &[OsString]) -> Result<Self, clap::Error> {
        Cli::from_arg_matches(&Cli::command().try_get_matches_from(words)?)
    }
}

/// Returns the value of `--profile`.
///
/// # Errors
/// No file has the profile.
fn profile<'m>(matches: &'m ArgMatches, files: &[File]) -> Result<Option<&'m str>> {
    let Some(name) = matches.get_one::<String>("profile") else {
        return Ok(None);
    };
    if !files.iter().flat_map(File::profiles).any(|known| known == name) {
        let known = profile_names(files);
        let known = if known.is_empty() { "none" } else { &known };
        bail!("--profile {name}: no such profile; the configuration files have: {known}");
    }
    Ok(Some(name))
}

/// Returns the names of all profiles, sorted, for messages.
fn profile_names(files: &[File]) -> String {
    let names: BTreeSet<&str> = files.iter().flat_map(File::profiles).collect();
    Vec::from_iter(names).join(", ")
}

/// Returns the names of the command and of its subcommands that were given, and the last of them.
fn innermost<'m>(
    matches: &'m ArgMatches,
    command: &Command,
) -> (Vec<String>, &'m ArgMatches, Command) {
    let (mut path, mut matches, mut command) = (Vec::new(), matches, command.clone());
    while let Some((name, inner)) = matches.subcommand() {
        path.push(name.to_owned());
        matches = inner;
        command = command.find_subcommand(name).expect("clap found it").clone();
    }
    (path, matches, command)
}

/// Returns the defaults for a command, each option once: the first that is found in the profile of each file and then in
/// `[default]` of each file. An option that excludes one before it is left out.
fn defaults(
    files: &[File],
    profile: Option<&str>,
    path: &[String],
    command: &Command,
) -> Vec<DefaultOption> {
    let mut found: Vec<DefaultOption> = Vec::new();
    let of_profile = files.iter().filter_map(|file| file.profile(profile?));
    for table in of_profile.chain(files.iter().filter_map(File::default)) {
        for (option, value) in table.options(path.first().map(String::as_str)) {
            let Some(own) = argument(command, option) else {
                continue;
            };
            let replaced = found.iter().any(|default| {
                let other = argument(command, &default.option).expect("it was found");
                own.get_id() == other.get_id() || exclude(command, own, other)
            });
            if !replaced {
                let (option, value) = (option.to_owned(), value.clone());
                found.push(DefaultOption { option, value, origin: table.origin() });
            }
        }
    }
    found
}

/// Returns the argument with this long name.
fn argument<'c>(command: &'c Command, option: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(option))
}

/// Returns true if the command line has neither the option nor one that excludes it.
fn applies(default: &DefaultOption, matches: &ArgMatches, command: &Command) -> bool {
    let given =
        |arg: &Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let own = argument(command, &default.option).expect("the command has it");
    !command
        .get_arguments()
        .any(|arg| given(arg) && (arg.get_id() == own.get_id() || exclude(command, own, arg)))
}

/// Returns true if the command does not accept both arguments.
fn exclude(command: &Command, one: &Arg, other: &Arg) -> bool {
    let conflicts = |arg: &Arg, with: &Arg| {
        command.get_arg_conflicts_with(arg).iter().any(|found| found.get_id() == with.get_id())
    };
    conflicts(one, other) || conflicts(other, one)
}

impl DefaultOption {
    /// Returns the option as words of the command line.
    ///
    /// # Errors
    /// The value has the wrong type.
    fn words(&self, command: &Command) -> Result<Vec<String>> {
        let Self { option, value, origin } = self;
        let argument = argument(command, option).expect("the command has it");
        let is_flag = !argument.get_action().takes_values();
        let text = |value: &toml::Value| match value {
            toml::Value::String(text) => Some(text.clone()),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Float(number) => Some(number.to_string()),
            _ => None,
        };
        let wrong = |expected: &str| anyhow!("{origin}: {option}: expected {expected}");
        match value {
            toml::Value::Boolean(set) if is_flag => {
                Ok(set.then(|| format!("--{option}")).into_iter().collect())
            }
            _ if is_flag => Err(wrong("true or false")),
            toml::Value::Array(items) if matches!(argument.get_action(), ArgAction::Append) => {
                let items =
                    items.iter().map(|item| text(item).map(|text| format!("--{option}={text}")));
                items.collect::<Option<_>>().ok_or_else(|| wrong("a list of texts or numbers"))
            }
            value => match text(value) {
                Some(text) => Ok(vec![format!("--{option}={text}")]),
                None => Err(wrong("a text or a number")),
            },
        }
    }
}

/// Returns the position in `words` after the names in `path`, where options of the innermost command can stand.
fn position(words: &[OsString], path: &[String]) -> usize {
    let is_value = |at: usize| words[at - 1] == "--profile";
    let mut at = 1;
    for name in path {
        let found = (at..words.len()).find(|&at| words[at] == name.as_str() && !is_value(at));
        at = found.map_or(at, |found| found + 1);
    }
    at
}

/// Describes the files, and the options that they set for each command with `profile`.
///
/// # Errors
/// As [`parse`].
pub(crate) fn describe(words: impl IntoIterator<Item = OsString>) -> Result<String> {
    describe_files(&words.into_iter().collect::<Vec<_>>(), &paths()?)
}

fn describe_files(words: &[OsString], paths: &[PathBuf]) -> Result<String> {
    let command = Cli::command();
    let files = File::read_all(paths, &command)?;
    let matches = Cli::command().try_get_matches_from(words)?;
    let profile = profile(&matches, &files)?;
    let mut text = String::from("Files, the one with precedence first:\n");
    for path in paths {
        let state = if path.exists() { "" } else { "  (does not exist)" };
        text += &format!("  {}{state}\n", path.display());
    }
    let profiles = profile_names(&files);
    if !profiles.is_empty() {
        text += &format!("Profiles: {profiles}\n");
    }
    let mut rows = vec![["command", "option", "value", "from"].map(String::from)];
    for command in command.get_subcommands() {
        let name = command.get_name().to_owned();
        for default in defaults(&files, profile, std::slice::from_ref(&name), command) {
            let DefaultOption { option, value, origin } = default;
            rows.push([name.clone(), option, value.to_string(), origin]);
        }
    }
    text += &match rows.len() {
        1 => "No options are set.\n".to_owned(),
        _ => format!(
            "\n{}",
            columns(&rows.iter().map(|row| row.each_ref().map(String::as_str)).collect::<Vec<_>>())
        ),
    };
    Ok(text)
}

#[cfg(test)]
mod tests;
