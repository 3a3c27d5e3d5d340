// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--with NAME=VALUE`: replaces a parameter of the selected cases.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use serde_json::Value;

use super::Case;

/// Name and new value of a parameter. The suite lists the name under `with:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    name: String,
    value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.into(), value: value.into() })
            }
            _ => Err("expected NAME=VALUE, such as seed=7".into()),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl Setting {
    /// Sets the parameter in all `cases` that have it.
    ///
    /// # Errors
    /// No case has it, or the value's type differs from that in the suite.
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
            let choices = match names.is_empty() {
                true => "they have no parameters at all".into(),
                false => format!("choose one of: {}", names.join(", ")),
            };
            bail!("--with {self}: the selected cases have no parameter {:?}; {choices}", self.name);
        }
        Ok(())
    }

    /// Converts the value to the type of `old`: text is taken literally, any other type is parsed as YAML.
    fn value_like(&self, old: &Value) -> Result<Value> {
        let value = match old {
            Value::String(_) => Value::String(self.value.clone()),
            _ => yaml_serde::from_str(&self.value).unwrap_or(Value::Null),
        };
        if std::mem::discriminant(&value) != std::mem::discriminant(old) {
            bail!("--with {self}: the value in the suite is {old}; pass a value of the same type");
        }
        Ok(value)
    }
}
