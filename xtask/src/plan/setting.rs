// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--with NAME=VALUE`: a parameter of the chosen cases that is not what their suite says.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use serde_json::Value;

use super::Case;

/// A parameter of cases, by its name in their `with:`, and what it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    name: String,
    value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.into(),
                value: value.into(),
            }),
            _ => Err("a parameter is NAME=VALUE, such as seed=7".into()),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl Setting {
    /// Sets the parameter of all `cases` that have it.
    ///
    /// # Errors
    /// None has it; a value of another kind than the suite's.
    pub fn apply(&self, cases: &mut [Case]) -> Result<()> {
        let mut known = false;
        for case in &mut *cases {
            if let Some(value) = case.planned.with.get_mut(&self.name) {
                *value = self.value_like(value)?;
                known = true;
            }
        }
        if !known {
            let names = cases.iter().flat_map(|case| case.planned.with.keys());
            let names: BTreeSet<&str> = names.map(String::as_str).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let there = match names.is_empty() {
                true => "they have none".into(),
                false => format!("there are: {}", names.join(", ")),
            };
            bail!(
                "--with {self}: the chosen cases have no parameter {:?}; {there}",
                self.name
            );
        }
        Ok(())
    }

    /// The value, of the kind that `there` is: text as it stands, anything else as in a suite's YAML.
    fn value_like(&self, there: &Value) -> Result<Value> {
        let value = match there {
            Value::String(_) => Value::String(self.value.clone()),
            _ => yaml_serde::from_str(&self.value).unwrap_or(Value::Null),
        };
        if std::mem::discriminant(&value) != std::mem::discriminant(there) {
            bail!("--with {self}: in the suite it is {there}; give it a value of that kind");
        }
        Ok(value)
    }
}
