// SPDX-License-Identifier: MIT OR Apache-2.0
//! YAML with errors that name file, line and what was expected.

use std::path::Path;

use anyhow::{Result, anyhow};
use serde::de::DeserializeOwned;

/// Parses `text`, which was read from `path`.
///
/// # Errors
/// `FILE:LINE:COLUMN: what was found and what was expected`, with the line itself below.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    yaml_serde::from_str(text).map_err(|error| {
        let file = path.display();
        let Some(at) = error.location() else {
            return anyhow!("{file}: {error}");
        };
        let (line, column) = (at.line(), at.column());
        let words = error.to_string();
        // The parser's words end with the place, which is said already.
        let words = words.split(" at line ").next().unwrap_or(&words);
        let source = text.lines().nth(line.saturating_sub(1)).unwrap_or("");
        anyhow!("{file}:{line}:{column}: {words}\n    {}", source.trim())
    })
}
