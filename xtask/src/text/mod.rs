// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text for people: forms of words, times, sizes, and tables.

pub(crate) mod columns;
pub(crate) mod words;
