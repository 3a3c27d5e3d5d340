// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs under the oracle. The fake QEMU writes what the plugin would write.

use std::fs;
use std::path::PathBuf;

use protocol::kallsyms;
use protocol::record::{Outcome, Record};
use xtask::results::RunResult;

use super::world::{ALL, Guest, Lab, assert_code, text};

/// Cache of x86_64 for these tests. Unlike the real one, it aliases.
const ALIASES: &str = "\
cache:
  kind: vipt
  period: 16384
  line: 32
  model: { arch: arm, page: 4096, write: back }
";

const HELLO: &str = r#"{"hello":{"version":"0.1.0","api":4,"arch":"arm","cache":{"kind":"vipt","period":16384,"line":32,"write":"back"},"depth":"full"}}"#;
const KNOWN: &str =
    r#"{"known":{"virtual":"0xb6ff1000","physical":"0x4c3f000","expected":"0x4c3f000"}}"#;

fn window(id: u32, findings: u32) -> String {
    let access = |at: u32, op: &str, address: &str, colour: u32| {
        format!(
            r#"{{"at":{at},"op":"{op}","by":"process","space":null,"virtual":"{address}","physical":"0x4c3f020","size":4,"colour":{colour},"pc":"0x10a34","symbol":null}}"#
        )
    };
    let (earlier, later) =
        (access(7, "store", "0x40013020", 3), access(9, "load", "0x40012020", 2));
    let mut lines = format!("{{\"window\":{{\"id\":{id}}}}}\n");
    for number in 1..=findings {
        lines += &format!(
            r#"{{"finding":{{"window":{id},"number":{number},"kind":"dirty-elsewhere","line":"0x4c3f020","earlier":{earlier},"later":{later},"story":[{earlier},{later}]}}}}"#
        );
        lines += "\n";
    }
    let repeats = vec!["3"; findings as usize].join(",");
    lines
        + &format!(
            r#"{{"end":{{"window":{id},"findings":{},"distinct":{findings},"repeats":[{repeats}],"accesses":99}}}}"#,
            3 * findings
        )
        + "\n"
}

/// Returns the output of the oracle before the first case: the results of its controls.
fn controls() -> String {
    format!("{HELLO}\n{KNOWN}\n{}{}", window(1, 0), window(2, 1))
}

/// Creates a lab with one target, whose cache aliases, and a QEMU that can load the oracle.
fn lab() -> Lab {
    let lab = Lab::new();
    let configs = lab.path("checkout/kernel-configs");
    let yaml = fs::read_to_string(configs.join("x86_64.yaml")).unwrap();
    let (before, rest) = yaml.split_once("cache:\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    fs::remove_file(&configs).unwrap();
    fs::create_dir_all(configs.join("flavours")).unwrap();
    fs::write(configs.join("x86_64.yaml"), format!("{before}{ALIASES}\n{after}")).unwrap();
    let flavour = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel-configs/flavours/default.yaml");
    fs::copy(flavour, configs.join("flavours/default.yaml")).unwrap();
    fs::write(lab.path("System.map"), "c0008000 T _text\nc0900000 B _end\n").unwrap();
    lab.qemu_version("10.0.2");
    lab
}

/// Defines a guest in which all cases pass and the oracle writes `oracle`.
fn guest(lab: &Lab, oracle: String) {
    let mut guest = Guest::up(3);
    guest.pass(&ALL).goodbye();
    guest.oracle = oracle;
    lab.guest("1", &guest, "exit 0");
}

fn oracle_of(results: &RunResult) -> (String, Option<&str>) {
    let ran = &results.targets[0].provenance;
    (ran.oracle.to_string(), ran.oracle_reason.as_deref())
}

#[test]
fn a_run_without_findings_passes() {
    let lab = lab();
    guest(&lab, controls() + &window(16, 0) + &window(17, 0) + &window(18, 0));
    let output = lab.test(&[]);
    assert_code(&output, 0);
    let results = lab.results();
    assert_eq!(oracle_of(&results), ("full".into(), None));
    let accesses = results.targets[0].cases.iter();
    let accesses: Vec<u64> = accesses.map(|case| case.oracle.as_ref().unwrap().accesses).collect();
    assert_eq!(accesses, [99; 3]);
    let printed = text(&output);
    assert!(printed.contains("full; 3 cases watched; findings: 0"), "{printed}");
    // QEMU loads the plugin, and both the guest and the plugin get their settings.
    let boot = lab.path("checkout/target/lab/latest/x86_64/boot-1");
    let command = fs::read_to_string(boot.join("qemu.sh")).unwrap();
    assert!(command.contains("-plugin /x/liboracle.so,config=oracle.json"), "{command}");
    assert!(command.contains("dmmap.oracle=1"), "{command}");
    let config = fs::read_to_string(boot.join("oracle.json")).unwrap();
    assert!(config.contains(r#""findings": "oracle.jsonl""#), "{config}");
}

#[test]
fn a_mail_has_the_command_of_its_run() {
    let lab = lab();
    guest(&lab, controls() + &window(16, 0) + &window(17, 1) + &window(18, 0));
    assert_code(&lab.test(&["--memory", "512M"]), 1);
    let mail = |finding: &str| text(&lab.command(&["oracle", "mail", finding]).output().unwrap());
    let printed = mail("x86_64/smoke/two/1");
    let command = " --arch x86_64 --case smoke/two --oracle on\n";
    assert!(printed.contains(command), "{printed}");
    assert!(printed.contains("  cargo xtask test --kernel-image "), "{printed}");
    assert!(printed.contains(" --memory 512M "), "{printed}");
}

#[test]
fn the_symbols_of_an_image_without_a_map_are_read_once() {
    let lab = lab();
    fs::remove_file(lab.path("System.map")).unwrap();
    let oracle = || controls() + &window(16, 0) + &window(17, 0) + &window(18, 0);
    guest(&lab, oracle());
    // The guest is interrupted while it reports the symbols.
    let mut reads = Guest::up(0);
    lab.guest("symbols", &reads, "exit 0");
    let output = text(&lab.test(&[]));
    let expected = "read the symbols of the kernel image: QEMU exited before the guest reported its shutdown; the console";
    assert!(output.contains(expected), "{output}");
    let part = b"c0100000 T _stext\nc0100040 t memcpy\n".to_vec();
    reads.record(&Record::File { name: kallsyms::FILE.into(), size: part.len(), part });
    // The guest hangs, and is stopped as soon as it has sent the symbols.
    lab.guest("symbols", &reads, "exec sleep 600");
    assert_code(&lab.test(&[]), 0);
    lab.assert_no_machine_left();
    let config = lab.path("checkout/target/lab/latest/x86_64/boot-1/oracle.json");
    let config = fs::read_to_string(config).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let symbols = fs::read_to_string(config["symbols"].as_str().unwrap()).unwrap();
    assert!(symbols.contains("c0100040 t memcpy\n"), "{symbols}");
    assert!(symbols.ends_with(" B _end\n"), "{symbols}");
    // The next run takes them from the cache.
    fs::remove_dir_all(lab.path("guests/symbols")).unwrap();
    guest(&lab, oracle());
    assert_code(&lab.test(&[]), 0);
    let boots = fs::read_dir(lab.path("checkout/target/lab/latest/x86_64")).unwrap();
    assert_eq!(boots.count(), 1);
}

#[test]
fn a_finding_fails_its_case_and_is_explained() {
    let lab = lab();
    guest(&lab, controls() + &window(16, 0) + &window(17, 2) + &window(18, 0));
    let output = lab.test(&[]);
    assert_code(&output, 1);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two fail", "smoke/three pass"]);
    let printed = text(&output);
    let id = "x86_64/smoke/two/2";
    assert!(printed.contains("cargo xtask oracle explain x86_64/smoke/two/1"), "{printed}");
    assert!(printed.contains(id), "{printed}");

    let list = lab.command(&["oracle", "list"]).output().unwrap();
    assert_code(&list, 0);
    insta::assert_snapshot!(text(&list), @"
    x86_64/smoke/two/1  dirty-elsewhere  3 times  page 0x4c3f000
    x86_64/smoke/two/2  dirty-elsewhere  3 times  page 0x4c3f000
    ");
    let explain = lab.command(&["oracle", "explain", id]).output().unwrap();
    assert_code(&explain, 0);
    insta::assert_snapshot!(text(&explain), @"
    x86_64/smoke/two/2: 3 times, in smoke/two, boot 1
    dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
    This may be stale on hardware. QEMU has no cache, so the guest got the right data.

    The last accesses to the line of 32 bytes at physical address 0x4c3f020 (addresses have the same colour if they are a multiple of 16 KiB apart):

         at  by       op     bytes  address     colour  space  instruction
      >  7   process  store  4      0x40013020  3       -      0x10a34
      >  9   process  load   4      0x40012020  2       -      0x10a34

    > the two accesses that conflict
    ");
    // The HTML report has the same content, and a drawing of each finding.
    let page = lab.path("checkout/target/lab/latest/report.html");
    let page = fs::read_to_string(page).unwrap();
    let drawings = page.matches("<svg").count();
    assert_eq!(drawings, 3, "two findings, and the map of their page");
    assert!(page.contains("9: load by process, 4 bytes at 0x40012020"));
    assert!(
        page.contains("(addresses have the same colour if they are a multiple of 16 KiB apart)")
    );
    assert!(page.contains("href=\"x86_64/boot-1/\""));
    let (run, merged) = (lab.path("checkout/target/lab/latest"), lab.path("merged"));
    let mut merge = lab.command(&["report", "merge"]);
    merge.arg(run).arg("--report-dir").arg(&merged);
    assert_code(&merge.output().unwrap(), 1);
    let merged = fs::read_to_string(merged.join("report.html")).unwrap();
    assert!(!merged.contains("<svg") && merged.contains("in the report of the original run"));

    let other = lab.command(&["oracle", "explain", "x86_64/smoke/one/1"]).output().unwrap();
    assert_code(&other, 2);
    let printed = text(&other).replace(lab.path("checkout").to_str().unwrap(), "CHECKOUT");
    insta::assert_snapshot!(printed, @r#"error: no finding "x86_64/smoke/one/1" in CHECKOUT/target/lab/latest; `cargo xtask oracle list` lists all findings"#);
    // The accesses are stored in the files of the boot only.
    fs::remove_file(lab.path("checkout/target/lab/latest/x86_64/boot-1/oracle.jsonl")).unwrap();
    let gone = lab.command(&["oracle", "explain", id]).output().unwrap();
    assert_code(&gone, 2);
    let printed = text(&gone).replace(lab.path("checkout").to_str().unwrap(), "CHECKOUT");
    insta::assert_snapshot!(printed, @"error: read CHECKOUT/target/lab/latest/x86_64/boot-1/oracle.jsonl; accesses are stored only in the files of the boot, on the machine of the run: No such file or directory (os error 2)");
}

#[test]
fn an_oracle_that_misses_the_planted_fault_is_not_trusted_in_any_case() {
    let lab = lab();
    let blind = controls().replace(&window(2, 1), &window(2, 0));
    guest(&lab, blind + &window(16, 0) + &window(17, 0) + &window(18, 0));
    let output = lab.test(&[]);
    assert_code(&output, 2);
    assert_eq!(lab.verdicts(), ["smoke/one infra", "smoke/two infra", "smoke/three infra"]);
    let printed = text(&output);
    let why = "the oracle cannot be trusted: it did not find the planted error";
    assert!(printed.contains(why), "{printed}");
    assert_eq!(lab.results().targets[0].boots, 1, "a second boot would fail in the same way");
    assert!(lab.results().targets[0].cases.iter().all(|case| case.oracle.is_none()));
}

#[test]
fn an_oracle_that_gives_up_is_not_trusted_from_then_on() {
    let lab = lab();
    let refused = "{\"refused\":{\"why\":\"TTBR0 does not read back\"}}\n";
    guest(&lab, controls() + &window(16, 0) + refused);
    let output = lab.test(&[]);
    assert_code(&output, 2);
    let printed = text(&output);
    assert!(
        printed.contains("the plugin stopped modelling: TTBR0 does not read back"),
        "{printed}"
    );
    assert!(lab.verdicts().contains(&"smoke/two infra".into()), "{:?}", lab.verdicts());
}

#[test]
fn a_truncated_window_is_not_trusted() {
    for (end, cut) in [(false, 0), (true, 20)] {
        let lab = lab();
        let last = window(18, 0);
        let mut oracle = controls() + &window(16, 0) + &window(17, 0) + &last;
        match end {
            // Cut off the whole last window, or the end of its last line.
            false => oracle.truncate(oracle.len() - last.len()),
            true => oracle.truncate(oracle.len() - cut),
        }
        guest(&lab, oracle);
        assert_code(&lab.test(&[]), 2);
        assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two pass", "smoke/three infra"]);
    }
}

#[test]
fn after_a_crash_the_next_boot_runs_under_the_oracle_too() {
    let lab = lab();
    let mut first = Guest::up(3);
    first.pass(&["one"]).start("two");
    first.print("[    2.0] Kernel panic - not syncing: sysrq triggered crash");
    first.oracle = controls() + &window(16, 0) + "{\"window\":{\"id\":17}}\n";
    lab.guest("1", &first, "exec sleep 600");
    let mut second = Guest::up(1);
    second.pass(&["three"]).goodbye();
    // Case three is the first in the plan of this boot, so its window has the first number.
    second.oracle = controls() + &window(16, 1);
    lab.guest("2", &second, "exit 0");
    assert_code(&lab.test(&[]), 1);
    assert_eq!(lab.verdicts(), ["smoke/one pass", "smoke/two crash", "smoke/three fail"]);
}

#[test]
fn the_error_quotes_a_qemu_that_refuses_the_plugin() {
    let lab = lab();
    let end = "echo 'oracle: oracle.json: missing field `page`' >&2; exit 1";
    lab.guest("last", &Guest::default(), end);
    let output = lab.test(&[]);
    assert_code(&output, 2);
    let printed = text(&output);
    assert!(printed.contains("oracle: oracle.json: missing field `page`"), "{printed}");
}

#[test]
fn the_error_quotes_a_failed_build_of_the_plugin() {
    let lab = lab();
    let error = "echo 'error[E0425]: cannot find value' >&2; exit 101";
    lab.cargo(&format!("case \" $* \" in *\" oracle \"*) {error};; esac"));
    let output = lab.test(&[]);
    assert_code(&output, 2);
    let printed = text(&output);
    for words in ["build the oracle (`--oracle off` runs without it)", "error[E0425]"] {
        assert!(printed.contains(words), "{words} in {printed}");
    }
}

/// Sets the versions of QEMU and of its plugin interface, and returns the file that gets the arguments of each cargo.
fn newer_qemu(lab: &Lab, version: &str, (first, last): (u32, u32)) -> PathBuf {
    lab.qemu_version(version);
    lab.qemu_plugins(first, last);
    let builds = lab.path("builds");
    lab.cargo(&format!("echo \"$*\" >> '{}'", builds.display()));
    builds
}

#[test]
fn the_plugin_is_built_for_the_interface_of_a_newer_qemu() {
    let lab = lab();
    let builds = newer_qemu(&lab, "11.1.3", (7, 7));
    guest(&lab, controls() + &window(16, 0) + &window(17, 0) + &window(18, 0));
    assert_code(&lab.test(&[]), 0);
    assert_eq!(oracle_of(&lab.results()), ("full".into(), None));
    let builds = fs::read_to_string(builds).unwrap();
    assert!(builds.contains("--package oracle --release --features api-7"), "{builds}");
}

#[test]
fn an_unknown_plugin_interface_is_reported_before_anything_is_built() {
    let lab = lab();
    let builds = newer_qemu(&lab, "12.0.0", (8, 9));
    let output = lab.test(&["--oracle", "on"]);
    assert_code(&output, 2);
    let printed = text(&output);
    let why = "QEMU 12.0.0 loads plugins of interface versions 8 to 9, but the oracle is written for 4 and 7";
    assert!(printed.contains(why), "{printed}");
    assert!(!builds.exists(), "{}", fs::read_to_string(&builds).unwrap());
}

#[test]
fn with_an_old_qemu_the_run_continues_without_the_oracle() {
    let lab = lab();
    lab.qemu_version("7.2.22");
    let mut guest = Guest::up(3);
    guest.pass(&ALL).goodbye();
    lab.guest("1", &guest, "exit 0");
    let output = lab.test(&[]);
    assert_code(&output, 0);
    let why = "QEMU 7.2.22 is too old; the oracle needs 9.2 or newer";
    assert_eq!(oracle_of(&lab.results()), ("off".into(), Some(why)));
    assert!(text(&output).contains(why), "{}", text(&output));
    let boot = lab.path("checkout/target/lab/latest/x86_64/boot-1");
    assert!(!boot.join("oracle.json").exists() && !boot.join("oracle.jsonl").exists());

    let output = lab.test(&["--oracle", "on"]);
    assert_code(&output, 2);
    let printed = text(&output);
    assert!(
        printed.contains(&format!("--oracle on: x86_64 cannot run under the oracle: {why}")),
        "{printed}"
    );
}

#[test]
fn the_command_to_rerun_has_the_options_of_the_oracle() {
    let lab = lab();
    let reason = "it did not hold".into();
    let mut guest = Guest::up(1);
    guest.start("two").end("two", Outcome::Fail { reason }).goodbye();
    lab.guest("1", &guest, "exit 0");
    let output = lab.test(&["--case", "smoke/two", "--oracle", "off", "--oracle-depth", "user"]);
    assert_code(&output, 1);
    let printed = text(&output);
    assert!(
        printed.contains("--oracle off --oracle-depth user --arch x86_64 --case smoke/two"),
        "{printed}"
    );
    assert_eq!(oracle_of(&lab.results()), ("off".into(), Some("not requested")));
}
