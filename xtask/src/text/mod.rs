// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text for people: counts, times, sizes and tables.

pub(crate) mod columns;
pub(crate) mod words;
