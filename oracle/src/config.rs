// SPDX-License-Identifier: GPL-2.0-or-later
//! What the plugin is told: one argument, `config=FILE`, and the JSON in that file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::LONGEST_LINE;

/// Everything the plugin has to know of the guest. Every field but `deaf` has to be there, and no other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The instruction set, which is where markers and cache instructions are known from.
    pub arch: Arch,
    /// The data cache to model.
    pub cache: Cache,
    /// Bytes in a page: the grain of colours, and the farthest a physical address is good for.
    pub page: u64,
    /// What is judged.
    pub depth: Depth,
    /// Whether it does not hear of what the kernel does to one line or one page, so that there is something to find.
    #[serde(default)]
    pub deaf: bool,
    /// The kernel's `System.map`, to name places in the kernel. `null`: they stay numbers.
    #[serde(deserialize_with = "present")]
    pub symbols: Option<PathBuf>,
    /// The file that findings go to; what was in it is gone.
    pub findings: PathBuf,
}

/// An instruction set that the plugin knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// ARMv5 and ARMv6, 32 bit.
    Arm,
    /// PA-RISC 1.1.
    Hppa,
    /// SPARC V9.
    Sparc64,
    /// Any machine with a data cache that cannot alias: there is nothing to do.
    None,
}

/// A data cache of the first level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// How it finds a line.
    pub kind: Kind,
    /// Bytes after which the colours of addresses repeat; of no meaning where tags are virtual.
    pub period: u64,
    /// Bytes in a line, a power of two up to 64.
    pub line: u64,
    /// When memory learns of a store.
    pub write: Write,
}

/// How a cache finds a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// By virtual address, checked by the physical one: copies of a line are apart where colours are.
    Vipt,
    /// By virtual address alone: copies of a line are apart where addresses are.
    Vivt,
    /// By physical address: there is one copy of a line.
    Physical,
}

/// When memory learns of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Write {
    /// When the line leaves the cache, whenever that is.
    Back,
    /// At once. A store to a line that is not there brings nothing in.
    Through,
}

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Accesses through addresses of processes, whoever makes them. A store of the kernel by an address of its own has
    /// the line start anew, and the kernel is trusted to flush.
    User,
    /// Every access, and what the kernel does to the cache.
    Full,
}

/// The plugin's arguments or its configuration are not what they have to be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something other than the one argument.
    #[error("the arguments are `{0}`; the one there has to be is config=FILE")]
    Arguments(String),
    /// The file cannot be read.
    #[error("read the configuration {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// The file is not a configuration.
    #[error("the configuration {0}: {1}")]
    Parse(PathBuf, serde_json::Error),
    /// It is one, of a machine that cannot be.
    #[error("the configuration {0}: {1}")]
    Impossible(PathBuf, String),
}

impl Config {
    /// Reads the file that the plugin's arguments name.
    ///
    /// # Errors
    /// [`Error`]: it says which file and what is wrong with it.
    pub fn from_arguments(arguments: &[String]) -> Result<Config, Error> {
        let path: PathBuf = match arguments {
            [one] => one.strip_prefix("config=").map(PathBuf::from),
            _ => None,
        }
        .ok_or_else(|| Error::Arguments(arguments.join(",")))?;
        let text =
            std::fs::read_to_string(&path).map_err(|error| Error::Read(path.clone(), error))?;
        let config: Config =
            serde_json::from_str(&text).map_err(|error| Error::Parse(path.clone(), error))?;
        match config.problem() {
            Some(problem) => Err(Error::Impossible(path, problem)),
            None => Ok(config),
        }
    }

    /// What no machine has.
    fn problem(&self) -> Option<String> {
        let Cache {
            kind, period, line, ..
        } = self.cache;
        let sizes = [("page", self.page), ("period", period), ("line", line)];
        let odd = sizes.iter().find(|(_, size)| !size.is_power_of_two());
        if let Some((name, size)) = odd {
            return Some(format!("`{name}` is {size}, which is no power of two"));
        }
        if line > LONGEST_LINE.min(self.page) {
            return Some(format!(
                "a line of {line} bytes is more than a page, or than the {LONGEST_LINE} that the model can tell apart"
            ));
        }
        if kind == Kind::Vipt && period < self.page {
            return Some(format!("a period of {period} bytes is less than a page"));
        }
        if self.arch == Arch::None && kind != Kind::Physical {
            return Some("a cache that aliases, of an architecture `none`".into());
        }
        None
    }

    /// Whether the cache can hold a line more than once.
    pub fn aliases(&self) -> bool {
        match self.cache.kind {
            Kind::Vipt => self.cache.period > self.page,
            Kind::Vivt => true,
            Kind::Physical => false,
        }
    }
}

/// A field that may be `null` and may not be left out.
fn present<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    Option::deserialize(from)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A write-back cache with virtual indices, four colours of 4 KiB.
    pub fn sample() -> Config {
        Config {
            arch: Arch::Arm,
            cache: Cache {
                kind: Kind::Vipt,
                period: 16384,
                line: 32,
                write: Write::Back,
            },
            page: 4096,
            depth: Depth::User,
            deaf: false,
            symbols: None,
            findings: "findings".into(),
        }
    }

    const GOOD: &str = r#"{"arch":"sparc64","cache":{"kind":"vipt","period":16384,"line":32,"write":"through"},
        "page":8192,"depth":"full","symbols":null,"findings":"/run/oracle.jsonl"}"#;

    /// What is said of a configuration.
    fn read(text: &str) -> String {
        let dir = std::env::temp_dir().join(format!("oracle-config-{:p}", text));
        std::fs::write(&dir, text).unwrap();
        let read = Config::from_arguments(&[format!("config={}", dir.display())]);
        std::fs::remove_file(&dir).unwrap();
        match read {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string().replace(&*dir.to_string_lossy(), "FILE"),
        }
    }

    #[test]
    fn a_configuration_is_read() {
        insta::assert_snapshot!(read(GOOD), @r#"Config { arch: Sparc64, cache: Cache { kind: Vipt, period: 16384, line: 32, write: Through }, page: 8192, depth: Full, deaf: false, symbols: None, findings: "/run/oracle.jsonl" }"#);
    }

    #[test]
    fn a_field_too_many_or_too_few_is_named() {
        insta::assert_snapshot!(read(&GOOD.replace("\"symbols\":null,", "")), @"the configuration FILE: missing field `symbols` at line 2 column 66");
        insta::assert_snapshot!(read(&GOOD.replace("\"page\"", "\"pages\"")), @"the configuration FILE: unknown field `pages`, expected one of `arch`, `cache`, `page`, `depth`, `deaf`, `symbols`, `findings` at line 2 column 15");
        insta::assert_snapshot!(read(&GOOD.replace("sparc64", "vax")), @"the configuration FILE: unknown variant `vax`, expected one of `arm`, `hppa`, `sparc64`, `none` at line 1 column 13");
    }

    #[test]
    fn a_machine_that_cannot_be_is_refused() {
        insta::assert_snapshot!(read(&GOOD.replace("16384", "16385")), @"the configuration FILE: `period` is 16385, which is no power of two");
        insta::assert_snapshot!(read(&GOOD.replace("16384", "4096")), @"the configuration FILE: a period of 4096 bytes is less than a page");
        insta::assert_snapshot!(read(&GOOD.replace("\"line\":32", "\"line\":16384")), @"the configuration FILE: a line of 16384 bytes is more than a page, or than the 64 that the model can tell apart");
        insta::assert_snapshot!(read(&GOOD.replace("sparc64", "none")), @"the configuration FILE: a cache that aliases, of an architecture `none`");
    }

    #[test]
    fn the_file_is_the_one_argument() {
        let said = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&word| word.into()).collect();
            Config::from_arguments(&arguments).unwrap_err().to_string()
        };
        insta::assert_snapshot!(said(&[]), @"the arguments are ``; the one there has to be is config=FILE");
        insta::assert_snapshot!(said(&["config=a", "trace=on"]), @"the arguments are `config=a,trace=on`; the one there has to be is config=FILE");
        insta::assert_snapshot!(said(&["config=/not/there"]), @"read the configuration /not/there: No such file or directory (os error 2)");
    }
}
