// SPDX-License-Identifier: MIT OR Apache-2.0
//! Human-readable text: counts, times, sizes and tables.

pub(crate) mod columns;
pub(crate) mod nearest;
pub(crate) mod words;
