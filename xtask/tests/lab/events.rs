// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events as lines of JSON.

use serde_json::Value;

use crate::world::{ALL, Guest, Lab, assert_code};

#[test]
fn standard_output_has_an_event_on_each_line_and_nothing_else() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    let output = lab.test(&["--message-format", "json"]);
    assert_code(&output, 0);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["version"] == 1));
    assert_eq!(lines[0]["type"], "run-start");
    assert_eq!(lines[0]["cases"], 3);
    let events = lines.iter().filter(|line| line["type"] == "target").map(|line| &line["event"]);
    let ended = events.filter(|event| event["type"] == "case-end");
    let ended: Vec<&Value> = ended.map(|event| &event["data"]["id"]).collect();
    assert_eq!(ended, ["smoke/one", "smoke/two", "smoke/three"]);
    let last = lines.last().unwrap();
    assert_eq!(last["type"], "run-end");
    assert_eq!(last["result"]["targets"][0]["cases"][0]["verdict"]["is"], "pass");
}

#[test]
fn a_profile_sets_the_options_of_a_run() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(1).pass(&["two"]).goodbye(), "exit 0");
    let file = lab.path("config/dmmap-lab/config.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "[profile.two.test]\ncase = ['smoke/two']\n").unwrap();
    assert_code(&lab.test(&["--profile", "two"]), 0);
    assert_eq!(lab.verdicts(), ["smoke/two pass"]);
}
