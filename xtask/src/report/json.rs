// SPDX-License-Identifier: MIT OR Apache-2.0
//! `results.json`: everything about a run, for programs. `docs/results.md` describes its fields.

use crate::results::RunResult;

/// Renders the whole result as indented JSON.
pub(crate) fn render(result: &RunResult) -> String {
    let mut text = serde_json::to_string_pretty(result)
        .expect("a result holds only strings, numbers and containers of them");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::report::samples;

    /// Collects the paths of all fields of a value, in the form `targets[].cases[].id`.
    fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
        match value {
            // Objects of these types have rows elsewhere in the document.
            Value::Object(_) if at.contains("failed_attempts[].") => {}
            // The keys of these maps differ from run to run; the document has one row for each map.
            Value::Object(_) if at.ends_with("seconds") || at.ends_with("figures") => {}
            Value::Object(map) => {
                for (name, value) in map {
                    let at = [at, name].join(if at.is_empty() { "" } else { "." });
                    found.insert(at.clone());
                    fields(value, &at, found);
                }
            }
            Value::Array(list) => {
                for value in list {
                    fields(value, &format!("{at}[]"), found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_document_lists_exactly_the_fields_of_a_result() {
        let mut written = BTreeSet::new();
        let samples = [samples::mixed(), samples::watched(), samples::scaled(), samples::retried()];
        for sample in samples {
            let sample = serde_json::to_value(sample).unwrap();
            fields(&sample, "", &mut written);
        }
        let document = include_str!("../../../docs/results.md");
        let (_, layout) = document.split_once("## `results.json`").unwrap();
        let rows = layout.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: BTreeSet<String> =
            rows.filter_map(|row| row.split_once('`')).map(|(field, _)| field.to_owned()).collect();
        assert_eq!(documented, written);
    }

    #[test]
    fn the_document_names_the_schema_and_every_verdict() {
        let document = include_str!("../../../docs/results.md");
        let schema = format!("layout {}", crate::results::SCHEMA);
        assert!(document.contains(&schema), "no {schema:?} in docs/results.md");
        for word in crate::results::Verdict::WORDS {
            assert!(document.contains(&format!("`{word}`")), "no {word} in docs/results.md");
        }
    }

    #[test]
    fn a_case_with_oracle_findings() {
        let case = serde_json::to_string_pretty(&samples::stale().oracle).unwrap();
        insta::assert_snapshot!(case, @r#"
        {
          "accesses": 12345,
          "distinct": 2,
          "findings": [
            {
              "id": "armv6/coherency/ping-pong.fuse/1",
              "kind": "dirty-elsewhere",
              "page": "0x4c3f000",
              "earlier": "process",
              "later": "process",
              "repeats": 1,
              "text": "dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache",
              "window": 16,
              "number": 1
            },
            {
              "id": "armv6/coherency/ping-pong.fuse/2",
              "kind": "dirty-elsewhere",
              "page": "0x4c3f000",
              "earlier": "process",
              "later": "process",
              "repeats": 1,
              "text": "dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache",
              "window": 16,
              "number": 2
            }
          ],
          "excused": []
        }
        "#);
    }

    #[test]
    fn a_case_in_full() {
        let mut result = samples::mixed();
        result.targets.truncate(1);
        result.targets[0].cases.retain(|case| case.verdict.word() == "crash");
        insta::assert_snapshot!(render(&result), @r#"
        {
          "schema": 8,
          "tool": "0.1.0 (850347e)",
          "commands": [
            [
              "cargo",
              "xtask",
              "test",
              "--timeout-scale",
              "2"
            ]
          ],
          "started": "2025-11-22T19:33:00Z",
          "seconds": 131.07,
          "interrupted": false,
          "targets": [
            {
              "name": "x86_64",
              "target": "x86_64",
              "kernel": "6.12",
              "flavour": "default",
              "stacks": [],
              "provenance": {
                "kernel_version": "6.12.117",
                "kernel_hash": "4f1c",
                "config_hash": "a0b1",
                "compiler": "gcc (Debian 12.2.0-14+deb12u1) 12.2.0",
                "image_hash": "77aa",
                "rustc": "rustc 1.85.0",
                "qemu": "QEMU emulator version 7.2.19",
                "accel": "tcg",
                "accel_reason": "a probe guest did not finish within 3 s",
                "oracle": "off",
                "oracle_reason": "data caches do not alias"
              },
              "failure": null,
              "unused_excuses": [],
              "boots": 3,
              "seconds": {
                "boot": 2.4,
                "image": 0.02,
                "kernel": 94.3,
                "setup": 0.1,
                "shutdown": 0.3,
                "test": 11.75
              },
              "cases": [
                {
                  "id": "coherency/ping-pong.fuse",
                  "suite": "coherency",
                  "about": "coherency/ping-pong.fuse keeps its promise.",
                  "promises": [
                    1,
                    2
                  ],
                  "verdict": {
                    "is": "crash",
                    "marker": "[    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008"
                  },
                  "flaky": false,
                  "attempts": 1,
                  "failed_attempts": [],
                  "millis": null,
                  "boot": 1,
                  "figures": {},
                  "curves": [],
                  "oracle": null,
                  "distrust": null,
                  "log": [],
                  "console": [
                    "[    2.310552] init: case 4/7 coherency/ping-pong.fuse",
                    "[    2.513911] BUG: kernel NULL pointer dereference, address: 0000000000000008",
                    "[    2.514871] Oops: Oops: 0002 [#1] SMP",
                    "[    2.519114] Kernel panic - not syncing: Fatal exception"
                  ]
                }
              ]
            }
          ]
        }
        "#);
    }
}
