// SPDX-License-Identifier: MIT OR Apache-2.0
//! Comparison of a run with an earlier one.

use std::fs;

use protocol::record::Outcome;

use crate::world::{ALL, Guest, Lab, assert_code, text};

/// Runs the three cases. If `holds` is false, the second fails.
fn run(lab: &Lab, holds: bool) -> String {
    let outcome = match holds {
        true => Outcome::Pass,
        false => Outcome::Fail { reason: "it did not hold".into() },
    };
    let mut guest = Guest::up(3);
    guest.pass(&["one"]).start("two").end("two", outcome).pass(&["three"]).goodbye();
    lab.guest("1", &guest, "exit 0");
    text(&lab.test(&[]))
}

#[test]
fn the_end_of_a_run_shows_what_changed_since_the_last_one() {
    let lab = Lab::new();
    let none = lab.command(&["compare"]).output().unwrap();
    assert_code(&none, 2);
    assert!(text(&none).contains("no results yet"), "{}", text(&none));

    assert!(!run(&lab, true).contains("since "));
    let alone = lab.command(&["compare"]).output().unwrap();
    assert_code(&alone, 2);
    assert!(text(&alone).contains("has the same targets"), "{}", text(&alone));

    let printed = run(&lab, false);
    assert!(printed.contains(": 1 broke\n"), "{printed}");
    assert!(
        printed.contains("  broke       x86_64 smoke/two: pass -> fail: it did not hold\n"),
        "{printed}"
    );
    let output = lab.command(&["compare"]).output().unwrap();
    assert_code(&output, 1);
    assert!(text(&output).ends_with("1 broke\n"), "{}", text(&output));

    assert!(run(&lab, true).contains(": 1 fixed\n"));
    assert_code(&lab.command(&["compare"]).output().unwrap(), 0);
    assert!(run(&lab, true).contains(": no difference in 3 cases\n"));
}

#[test]
fn runs_can_be_named_and_survive_their_directories() {
    let lab = Lab::new();
    run(&lab, true);
    run(&lab, false);
    let runs = lab.path("checkout/target/lab");
    let mut names: Vec<String> = fs::read_dir(runs.join("history"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".json").unwrap().to_owned())
        .collect();
    names.sort();
    let [old, new] = names.as_slice() else { panic!("{names:?}") };
    let code =
        |args: &[&str]| lab.command(&[&["compare"], args].concat()).output().unwrap().status.code();
    let file = runs.join(new).join("results.json");
    assert_eq!(code(&[old, file.to_str().unwrap()]), Some(1));
    fs::remove_dir_all(runs.join(old)).unwrap();
    assert_eq!(code(&[old]), Some(1));
    assert_eq!(code(&[new, old]), Some(0));
    assert_eq!(code(&["nothing"]), Some(2));
}

#[test]
fn a_run_of_other_targets_is_not_compared() {
    let lab = Lab::new();
    lab.guest("1", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    assert_code(&lab.test(&[]), 0);
    lab.guest("last", Guest::up(3).pass(&ALL).goodbye(), "exit 0");
    let output = lab.test(&["--flavour", "debug"]);
    assert_code(&output, 0);
    assert!(!text(&output).contains("since "), "{}", text(&output));
}
