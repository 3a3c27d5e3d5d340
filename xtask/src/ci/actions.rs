// SPDX-License-Identifier: MIT OR Apache-2.0
//! Actions that the GitHub jobs use, pinned by commit. A tag could be moved to other code later.

/// Placeholder in a template, and the action that replaces it.
pub(super) const ACTIONS: [(&str, &str); 5] = [
    ("@CHECKOUT@", "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"),
    ("@RESTORE@", "actions/cache/restore@27d5ce7f107fe9357f9df03efb73ab90386fccae # v5.0.5"),
    ("@SAVE@", "actions/cache/save@27d5ce7f107fe9357f9df03efb73ab90386fccae # v5.0.5"),
    ("@UPLOAD@", "actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a # v7.0.1"),
    ("@DOWNLOAD@", "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1"),
];
