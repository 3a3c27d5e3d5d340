// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests with a validator: what the schemas accept and reject.

use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, Schemas};
use protocol::record::Stream;
use serde_json::json;

use super::*;
use crate::event::{Event, TargetEvent};
use crate::report::samples;
use crate::results::Phase;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the errors of `value`, one on each line.
fn errors(kind: Kind, value: &Value) -> String {
    let schema = serde_json::from_str(&render(kind)).unwrap();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("urn:lab", schema).unwrap();
    let schema = compiler.compile("urn:lab", &mut schemas).unwrap();
    let error = schemas.validate(value, schema).err();
    let error = error.map_or(String::new(), |error| error.to_string());
    // The first line names the schema. Patterns are shown as they are after their translation.
    let lines = error.lines().skip(1);
    let lines = lines.map(|line| line.split(" pattern '").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn yaml(text: &str) -> Value {
    crate::yaml::parse(text, Path::new("test.yaml")).unwrap()
}

/// Returns the directories of the YAML files of `kind`, relative to the checkout, and the pattern of their names.
fn places(kind: Kind) -> (Vec<String>, &'static str) {
    let below = |dir: &str| -> Vec<String> {
        let entries = fs::read_dir(checkout().join(dir)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| format!("{dir}/{name}")).collect()
    };
    match kind {
        Kind::Target => (vec!["kernel-configs".into()], r"\.yaml$"),
        Kind::Suite => (vec!["suites".into()], r"\.yaml$"),
        Kind::Flavour => (vec!["kernel-configs/flavours".into()], r"\.yaml$"),
        Kind::Variant => (vec!["kernel-configs/variants".into()], r"\.yaml$"),
        Kind::Kernel => (below("kernel-patches"), r"^kernel\.yaml$"),
        Kind::Versions => {
            (vec!["kernel-patches/fixes".into(), "mutants".into()], r"^versions\.yaml$")
        }
        Kind::Results | Kind::Events => (Vec::new(), ""),
    }
}

#[test]
fn every_yaml_file_is_valid_and_names_its_schema() {
    let mut count = 0;
    for kind in Kind::ALL {
        let (dirs, pattern) = places(kind);
        let pattern = regex::Regex::new(pattern).unwrap();
        let entries = dirs.iter().flat_map(|dir| {
            let entries = fs::read_dir(checkout().join(dir)).into_iter().flatten();
            entries.map(move |entry| (dir, entry.unwrap()))
        });
        for (dir, entry) in entries {
            if !pattern.is_match(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let up = "../".repeat(dir.split('/').count());
            let hint = format!("# yaml-language-server: $schema={up}{}", kind.file());
            let path = entry.path();
            let text = fs::read_to_string(&path).unwrap();
            let path = path.display();
            assert_eq!(errors(kind, &yaml(&text)), "", "{path}");
            assert_eq!(text.lines().nth(1), Some(&*hint), "{path}: second line");
            count += 1;
        }
    }
    assert!(count > 20, "{count} files");
}

#[test]
fn results_are_valid() {
    for sample in [
        samples::mixed(),
        samples::retried(),
        samples::watched(),
        samples::interrupted(),
        samples::untested(),
        samples::empty(),
        samples::two_kernels(),
    ] {
        let value = serde_json::to_value(sample).unwrap();
        assert_eq!(errors(Kind::Results, &value), "");
    }
}

#[test]
fn wrong_results_are_rejected() {
    let error = |pointer: &str, value: Value| {
        let mut result = serde_json::to_value(samples::mixed()).unwrap();
        *result.pointer_mut(pointer).unwrap() = value;
        errors(Kind::Results, &result)
    };
    insta::assert_snapshot!(error("/schema", json!(1)), @"- at '/schema': value must be 8");
    insta::assert_snapshot!(error("/targets/0/boots", json!("3")), @"- at '/targets/0/boots': want integer, but got string");
    insta::assert_snapshot!(error("/targets/0/cases/0/promises/0", json!(-1)), @"- at '/targets/0/cases/0/promises/0': must be >=0, but got -1");
    insta::assert_snapshot!(error("/targets/0/provenance/accel", json!("kvm or tcg")), @"- at '/targets/0/provenance/accel': 'kvm or tcg' does not match");
    assert_eq!(error("/targets/0/provenance/accel", json!("kvm and tcg")), "");
    for verdict in [
        json!({ "is": "passed" }),
        json!({ "is": "pass", "reason": "no field of this verdict" }),
        json!({ "is": "fail" }),
        json!({ "is": "timeout", "phase": "lunch" }),
    ] {
        assert_ne!(error("/targets/0/cases/0/verdict", verdict.clone()), "", "{verdict}");
    }
    // No field may be missing, and no other may be there.
    let mut result = serde_json::to_value(samples::mixed()).unwrap();
    let case = result.pointer_mut("/targets/0/cases/0").unwrap();
    let case = case.as_object_mut().unwrap();
    case.remove("millis");
    case.insert("seconds".into(), json!(1));
    insta::assert_snapshot!(errors(Kind::Results, &result), @"
    - at '/targets/0/cases/0': validation failed
      - at '/targets/0/cases/0': missing properties 'millis'
      - at '/targets/0/cases/0': additionalProperties 'seconds' not allowed
    ");
}

#[test]
fn wrong_yaml_is_rejected() {
    let target = include_str!("../../../kernel-configs/armv6.yaml");
    let suite = include_str!("../../../suites/smoke.yaml");
    let flavour = include_str!("../../../kernel-configs/flavours/debug.yaml");
    let error = |kind: Kind, text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        errors(kind, &yaml(&text.replacen(from, to, 1)))
    };
    let target = |from: &str, to: &str| error(Kind::Target, target, from, to);
    insta::assert_snapshot!(target("about:", "abuot:"), @"
    - at '': missing properties 'about'
    - at '': additionalProperties 'abuot' not allowed
    ");
    insta::assert_snapshot!(target("cpus: 1", "cpus: one"), @"- at '/qemu/cpus': want integer, but got string");
    insta::assert_snapshot!(target("kind: vipt", "kind: pipt"), @"
    - at '/cache/kind': oneOf failed, none matched
      - at '/cache/kind': value must be 'physical'
      - at '/cache/kind': value must be 'vipt'
      - at '/cache/kind': value must be 'vivt'
    ");
    insta::assert_snapshot!(target("    arch: arm\n", "    arch: none\n"), @"
    - at '/cache/model': anyOf failed
      - at '/cache/model/arch': oneOf failed, none matched
        - at '/cache/model/arch': value must be 'arm'
        - at '/cache/model/arch': value must be 'hppa'
        - at '/cache/model/arch': value must be 'sparc64'
      - at '/cache/model': want null, but got object
    ");
    let suite = |from: &str, to: &str| error(Kind::Suite, suite, from, to);
    insta::assert_snapshot!(suite("    run: boot", "    run: boot\n    deadline: 5"), @"- at '/cases/0/deadline': want null or string, but got number");
    insta::assert_snapshot!(suite("    run: boot", "    run: boot\n    deadline: soon"), @"- at '/cases/0/deadline': 'soon' does not match");
    insta::assert_snapshot!(suite("devices:", "device:"), @"- at '/cases/1': additionalProperties 'device' not allowed");
    insta::assert_snapshot!(suite("[fuse, cuse]", "[fuse, cure]"), @"
    - at '/cases/1/devices/1': oneOf failed, none matched
      - at '/cases/1/devices/1': value must be 'fuse'
      - at '/cases/1/devices/1': value must be 'cuse'
    ");
    insta::assert_snapshot!(suite("deadline: 10s", "deadline: soon"), @"- at '/deadline': 'soon' does not match");
    insta::assert_snapshot!(suite("promises: [10]", "promises: [14]"), @"- at '/cases/0/promises/0': must be <=13, but got 14");
    insta::assert_snapshot!(suite("    run: boot", "    run: boot\n    skip: { arm: \" \" }"), @"- at '/cases/0/skip/arm': ' ' does not match");
    insta::assert_snapshot!(suite("    run: boot", "    run: boot\n    expect: passed"), @"
    - at '/cases/0/expect': oneOf failed, none matched
      - at '/cases/0/expect': value must be 'pass'
      - at '/cases/0/expect': value must be 'fail'
      - at '/cases/0/expect': value must be 'skip'
      - at '/cases/0/expect': value must be 'crash'
      - at '/cases/0/expect': value must be 'timeout'
    ");
    let kernel = include_str!("../../../kernel-patches/6.12/kernel.yaml");
    let kernel = |from: &str, to: &str| error(Kind::Kernel, kernel, from, to);
    insta::assert_snapshot!(kernel("\"6.12\"", "6.12"), @"- at '/version': want string, but got number");
    insta::assert_snapshot!(kernel("\"6.12\"", "\"6.12.1\""), @"- at '/version': '6.12.1' does not match");
    insta::assert_snapshot!(kernel("default: true", "default: yes, it is"), @"- at '/default': want boolean, but got string");
    insta::assert_snapshot!(kernel("default: true", "incomplete: \"\""), @"- at '/incomplete': '' does not match");
    let versions = "a.patch: { from: \"6.12\", before: \"7.3\" }";
    let versions = |from: &str, to: &str| error(Kind::Versions, versions, from, to);
    assert_eq!(versions("before", "before"), "");
    insta::assert_snapshot!(versions("before", "until"), @"- at '/a.patch': additionalProperties 'until' not allowed");
    insta::assert_snapshot!(versions("\"7.3\"", "7.3"), @"- at '/a.patch/before': want null or string, but got number");
    let variant = include_str!("../../../kernel-configs/variants/rt.yaml");
    let variant = |from: &str, to: &str| error(Kind::Variant, variant, from, to);
    insta::assert_snapshot!(variant("make:", "start: defconfig\nmake:"), @r"
    - at '/start': oneOf failed, none matched
      - at '/start': value must be 'target'
      - at '/start': value must be 'allnoconfig'
      - at '/start': value must be 'allmodconfig'
    ");
    let flavour = |from: &str, to: &str| error(Kind::Flavour, flavour, from, to);
    insta::assert_snapshot!(flavour("time: 5", "time: [5]"), @"- at '/time': want number, but got array");
    insta::assert_snapshot!(flavour("memory: 2", "memory: 1.5"), @"- at '/memory': want integer, but got number");
}

#[test]
fn events_are_valid() {
    let result = samples::mixed();
    let target = result.targets[0].clone();
    let case = Box::new(target.cases[0].clone());
    let of_target = [
        TargetEvent::Start { options: "--arch x86_64".into() },
        TargetEvent::Phase { phase: Phase::Kernel, detail: "flavour default".into() },
        TargetEvent::Progress { done: 1, of: None, what: "CC a.o".into() },
        TargetEvent::Note("text".into()),
        TargetEvent::CaseStart { case: "smoke/boot".into(), index: 1, of: 2 },
        TargetEvent::Output { stream: Stream::Stdout, bytes: b"a\xff".into() },
        TargetEvent::AttemptEnd { number: 1, result: case.clone() },
        TargetEvent::CaseEnd(case),
        TargetEvent::End(Box::new(target)),
    ];
    let of_target = of_target.map(|event| Event::Target { target: "x86_64".into(), event });
    let start = Event::RunStart { run_dir: "/run".into(), targets: Vec::new(), cases: 0 };
    let all = [start, Event::RunEnd { result: Box::new(result) }].into_iter().chain(of_target);
    for event in all {
        let line = crate::report::events::line(&event);
        assert!(!line.contains('\n'));
        assert_eq!(errors(Kind::Events, &serde_json::from_str(&line).unwrap()), "", "{line}");
    }
    let unknown =
        json!({ "version": 1, "type": "target", "target": "x", "event": { "type": "new" } });
    assert_ne!(errors(Kind::Events, &unknown), "");
}

#[test]
fn durations_are_those_that_parse() {
    let pattern = regex::Regex::new(crate::suite::DURATION).unwrap();
    for text in [
        "10s",
        "1m 30s",
        "1h30m",
        "2.5min",
        "90 sec",
        "1year 2months",
        "3µs",
        "",
        "10",
        "s",
        "1x",
        "-1s",
        "1.s",
    ] {
        let parses = humantime::parse_duration(text).is_ok();
        assert_eq!(pattern.is_match(text), parses, "{text:?}");
    }
}

/// Editors show descriptions to people who do not read Rust.
#[test]
fn descriptions_have_no_links_to_code() {
    for kind in Kind::ALL {
        let text = render(kind);
        let mut lines = text.lines().filter(|line| line.contains("\"description\":"));
        assert_eq!(lines.find(|line| line.contains("[`") || line.contains("::")), None);
    }
}

#[test]
fn every_field_has_a_description() {
    fn visit(schema: &Value, at: &str, missing: &mut Vec<String>) {
        if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
            for (name, field) in fields {
                // The tag of an enum is described by its variant.
                if field.get("description").is_none() && field.get("const").is_none() {
                    missing.push(format!("{at}.{name}"));
                }
            }
        }
        match schema {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| visit(value, &format!("{at}/{key}"), missing))
            }
            Value::Array(list) => list.iter().for_each(|value| visit(value, at, missing)),
            _ => {}
        }
    }
    for kind in Kind::ALL {
        let mut missing = Vec::new();
        visit(&serde_json::from_str(&render(kind)).unwrap(), "", &mut missing);
        assert_eq!(missing, [""; 0], "{kind:?}");
    }
}
