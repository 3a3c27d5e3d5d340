// SPDX-License-Identifier: MIT OR Apache-2.0
//! YAML parsing with errors that show the file, the line and what was expected.

use std::path::Path;

use anyhow::{Result, anyhow};
use serde::de::DeserializeOwned;

use crate::files;

/// Parses `text`, the content of the file `path`.
///
/// # Errors
/// The error reads `FILE:LINE:COLUMN: what was found and what was expected`, followed by the line itself.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    yaml_serde::from_str(text).map_err(|error| {
        let file = path.display();
        let Some(at) = error.location() else {
            return anyhow!("{file}: {error}");
        };
        let (line, column) = (at.line(), at.column());
        let message = error.to_string();
        // The parser's message ends with the position, which this error begins with.
        let message = message.split(" at line ").next().unwrap_or(&message);
        let source = text.lines().nth(line.saturating_sub(1)).unwrap_or("");
        anyhow!("{file}:{line}:{column}: {message}\n    {}", source.trim())
    })
}

/// Reads and parses the file `path`.
///
/// # Errors
/// The file cannot be read or does not parse, see [`parse`].
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(&files::read(path)?, path)
}
