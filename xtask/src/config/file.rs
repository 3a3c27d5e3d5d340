// SPDX-License-Identifier: MIT OR Apache-2.0
//! A configuration file: `[default]` and `[profile.NAME]` with options for all commands that have them. A table in one of
//! these has the name of a command, and options for that command only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Command;
use toml::Value;

use crate::files;
use crate::text::nearest::nearest;

/// Table with the options that always hold.
const DEFAULT: &str = "default";

/// Table of the profiles.
const PROFILE: &str = "profile";

/// Options that a file cannot set.
const EXCLUDED: [&str; 3] = ["help", "version", "profile"];

/// A file that parsed.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    content: toml::Table,
}

/// A table of options.
#[derive(Clone, Debug)]
pub(super) struct Table<'f> {
    path: &'f Path,
    name: String,
    options: &'f toml::Table,
}

impl File {
    /// Reads those of the files that exist.
    ///
    /// # Errors
    /// A file does not parse, or has a table or an option that is unknown.
    pub(super) fn read_all(paths: &[PathBuf], command: &Command) -> Result<Vec<Self>> {
        let mut read = Vec::new();
        for path in paths {
            if let Some(text) = files::read_if_exists(path)? {
                read.push(Self::parse(path, &text, command)?);
            }
        }
        Ok(read)
    }

    fn parse(path: &Path, text: &str, command: &Command) -> Result<Self> {
        let name = path.display();
        let content: toml::Table = text.parse().with_context(|| format!("parse {name}"))?;
        if let Some(key) = content.keys().find(|key| *key != DEFAULT && *key != PROFILE) {
            bail!("{name}: unknown table `{key}`; expected [{DEFAULT}] or [{PROFILE}.NAME]");
        }
        let file = Self { path: path.to_owned(), content };
        for value in file.content.values().chain(file.profile_tables().values()) {
            if !value.is_table() {
                bail!("{name}: expected tables [{DEFAULT}] and [{PROFILE}.NAME]");
            }
        }
        for table in file.profiles().filter_map(|name| file.profile(name)).chain(file.default()) {
            table.check(command)?;
        }
        Ok(file)
    }

    fn profile_tables(&self) -> toml::Table {
        self.content.get(PROFILE).and_then(Value::as_table).cloned().unwrap_or_default()
    }

    /// Returns the names of the profiles.
    pub(super) fn profiles(&self) -> impl Iterator<Item = &str> {
        let table = self.content.get(PROFILE).and_then(Value::as_table);
        table.into_iter().flat_map(|table| table.keys().map(String::as_str))
    }

    /// Returns the options of a profile.
    pub(super) fn profile(&self, name: &str) -> Option<Table<'_>> {
        let options = self.content.get(PROFILE)?.get(name)?.as_table()?;
        Some(Table { path: &self.path, name: format!("{PROFILE}.{name}"), options })
    }

    /// Returns the options that always hold.
    pub(super) fn default(&self) -> Option<Table<'_>> {
        let options = self.content.get(DEFAULT)?.as_table()?;
        Some(Table { path: &self.path, name: DEFAULT.into(), options })
    }
}

impl<'f> Table<'f> {
    /// Returns the options for `command`, first those for this command only.
    pub(super) fn options(&self, command: Option<&str>) -> Vec<(&'f str, &'f Value)> {
        let own = command.and_then(|command| self.options.get(command)?.as_table());
        let own = own.into_iter().flatten();
        let general = self.options.iter().filter(|(_, value)| !value.is_table());
        own.chain(general).map(|(option, value)| (option.as_str(), value)).collect()
    }

    /// Returns the file and the name of the table, for messages.
    pub(super) fn origin(&self) -> String {
        format!("{} [{}]", self.path.display(), self.name)
    }

    /// Checks that each option exists.
    fn check(&self, command: &Command) -> Result<()> {
        let mut all = BTreeSet::new();
        collect(command, &mut all);
        for (key, value) in self.options {
            let Some(table) = value.as_table() else {
                self.check_option(key, &all, "no command has this option")?;
                continue;
            };
            let Some(inner) = command.find_subcommand(key) else {
                bail!("{}: unknown command `{key}`", self.origin());
            };
            let mut own = BTreeSet::new();
            collect(inner, &mut own);
            for option in table.keys() {
                self.check_option(option, &own, &format!("`{key}` does not have this option"))?;
            }
        }
        Ok(())
    }

    fn check_option(&self, option: &str, known: &BTreeSet<String>, problem: &str) -> Result<()> {
        if known.contains(option) {
            return Ok(());
        }
        let near = nearest(option, known.iter().cloned());
        let hint = match near.first() {
            Some(name) => format!("; did you mean `{name}`?"),
            None => String::new(),
        };
        bail!("{}: `{option}`: {problem}{hint}", self.origin());
    }
}

/// Collects the long names of the options of a command and its subcommands.
fn collect(command: &Command, names: &mut BTreeSet<String>) {
    let long = command.get_arguments().filter_map(|arg| arg.get_long());
    names.extend(long.filter(|name| !EXCLUDED.contains(name)).map(str::to_owned));
    command.get_subcommands().for_each(|inner| collect(inner, names));
}
