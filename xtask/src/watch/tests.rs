// SPDX-License-Identifier: MIT OR Apache-2.0
//! Simulated boots: the test writes the streams and sets the time.

use super::*;
use crate::judge::judge;
use crate::oracle::config::tests::armv6;
use crate::oracle::line::tests::{KNOWN, ended, found, opened, quiet, trusted};
use protocol::frame::Encoder;

const SECOND: Duration = Duration::from_secs(1);

/// Simulated guest. Each step takes one second.
struct Fake {
    watch: Watch,
    encoder: Encoder,
    now: Duration,
}

impl Fake {
    fn new() -> Self {
        let plan = ["smoke/boot", "smoke/redirect.fuse", "smoke/redirect.cuse"];
        let plan = plan.map(|id| (id.to_owned(), 10 * SECOND)).to_vec();
        Self {
            watch: Watch::new(plan, Limits::scaled(1.0)),
            encoder: Encoder::default(),
            now: Duration::ZERO,
        }
    }

    /// Returns a guest whose init is running.
    fn up() -> Self {
        let mut fake = Self::new();
        fake.console("[    0.000000] Linux version 6.12.117");
        fake.hello();
        fake
    }

    fn hello(&mut self) {
        self.record(Record::Hello {
            release: "6.12.117".into(),
            machine: "x86_64".into(),
            page_size: 4096,
            memory: 1 << 30,
            taint: 0,
            cases: 3,
            caches: vec!["CPU: VIPT aliasing data cache, unknown instruction cache".into()],
        });
    }

    fn console(&mut self, line: &str) {
        self.now += SECOND;
        self.watch.push_console(format!("{line}\r\n").as_bytes(), self.now);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.now += SECOND;
        self.watch.push_records(bytes, self.now);
    }

    fn record(&mut self, record: Record) {
        let frame = self.encoder.encode(&record);
        self.raw(frame.as_bytes());
    }

    fn start(&mut self, number: usize, case: &str) {
        self.console(&format!("[    1.5] init: case {number}/3 {case}"));
        self.record(Record::CaseStart { case: case.into() });
    }

    fn end(&mut self, case: &str, outcome: Outcome) {
        self.record(Record::CaseEnd {
            case: case.into(),
            outcome,
            millis: 12,
            taint: 0,
            figures: BTreeMap::new(),
        });
    }

    fn pass(&mut self, number: usize, case: &str) {
        self.start(number, case);
        self.end(case, Outcome::Pass);
    }

    /// Returns `case verdict` of each case that is complete since the last call.
    fn verdicts(&mut self) -> Vec<String> {
        let events = self.watch.take_events().into_iter();
        let verdicts = events.filter_map(|event| match event {
            BootEvent::CaseEnded(observation) => {
                let verdict = judge(&observation, "x86_64", &Default::default());
                Some(format!("{} {}", observation.case, verdict.word()))
            }
            _ => None,
        });
        verdicts.collect()
    }
}

#[test]
fn all_cases_of_a_good_boot_pass() {
    let mut fake = Fake::up();
    fake.pass(1, "smoke/boot");
    assert!(fake.verdicts().is_empty(), "the console may still be behind");
    fake.pass(2, "smoke/redirect.fuse");
    assert_eq!(fake.verdicts(), ["smoke/boot pass"]);
    fake.pass(3, "smoke/redirect.cuse");
    fake.record(Record::Goodbye);
    assert_eq!(fake.watch.phase(), Phase::Shutdown);
    assert_eq!(fake.watch.stop_reason(fake.now), None);
    assert_eq!(fake.watch.close(BootEnd::Qemu(End::Exit)), BootEnd::Goodbye);
    assert_eq!(fake.verdicts(), ["smoke/redirect.fuse pass", "smoke/redirect.cuse pass"]);
}

#[test]
fn a_crash_is_charged_to_the_case_it_happened_in() {
    let mut fake = Fake::up();
    fake.pass(1, "smoke/boot");
    fake.start(2, "smoke/redirect.fuse");
    fake.console("[    2.0] Kernel panic - not syncing: sysrq triggered crash");
    assert_eq!(fake.watch.stop_reason(fake.now), None, "the trace may follow");
    fake.console("[    2.1] CPU: 0 UID: 0 PID: 60 Comm: init");
    let end = fake.watch.stop_reason(fake.now).expect("the time for the trace is over");
    assert!(matches!(end, BootEnd::Crash(_)), "{end:?}");
    fake.watch.close(end);
    assert_eq!(fake.verdicts(), ["smoke/boot pass", "smoke/redirect.fuse crash"]);
}

#[test]
fn a_crash_right_after_a_case_is_charged_to_that_case() {
    let mut fake = Fake::up();
    fake.pass(1, "smoke/boot");
    fake.console("[    2.0] Kernel panic - not syncing: stack-protector");
    fake.watch.close(BootEnd::Qemu(End::Exit));
    assert_eq!(fake.verdicts(), ["smoke/boot crash"]);
}

#[test]
fn a_warning_between_two_cases_belongs_to_the_first() {
    let mut fake = Fake::up();
    fake.pass(1, "smoke/boot");
    fake.console("[    2.0] WARNING: CPU: 1 PID: 9 at fs/fuse/dmmap.c:1 f+0x1/0x2");
    fake.pass(2, "smoke/redirect.fuse");
    fake.watch.close(BootEnd::Goodbye);
    assert_eq!(fake.verdicts(), ["smoke/boot fail", "smoke/redirect.fuse pass"]);
}

#[test]
fn a_warning_is_charged_to_its_case_when_the_record_stream_is_ahead() {
    let mut fake = Fake::up();
    fake.console("[    1.5] init: case 1/3 smoke/boot");
    // The records of both cases arrive before the console has caught up.
    fake.record(Record::CaseStart { case: "smoke/boot".into() });
    fake.end("smoke/boot", Outcome::Pass);
    fake.record(Record::CaseStart { case: "smoke/redirect.fuse".into() });
    fake.console("[    2.0] WARNING: CPU: 1 PID: 9 at fs/fuse/dmmap.c:1 f+0x1/0x2");
    fake.console("[    2.1] init: case 2/3 smoke/redirect.fuse");
    fake.end("smoke/redirect.fuse", Outcome::Pass);
    fake.watch.close(BootEnd::Goodbye);
    assert_eq!(fake.verdicts(), ["smoke/boot fail", "smoke/redirect.fuse pass"]);
}

#[test]
fn curves_belong_to_the_case_that_runs() {
    let curve = || Curve::new("munmap", "mappings", "munmap", Vec::new());
    let record = |case: &str| Record::Curve { case: case.into(), curve: curve() };
    let mut fake = Fake::up();
    fake.start(1, "smoke/boot");
    fake.record(record("smoke/boot"));
    fake.record(record("smoke/redirect.fuse"));
    fake.end("smoke/boot", Outcome::Pass);
    fake.watch.close(BootEnd::Goodbye);
    let mut curves = Vec::new();
    let mut anomalies = Vec::new();
    for event in fake.watch.take_events() {
        match event {
            BootEvent::CaseEnded(observation) => curves.extend(observation.curves),
            BootEvent::Anomaly(text) => anomalies.push(text),
            _ => {}
        }
    }
    assert_eq!(curves, [curve()]);
    assert!(
        anomalies.contains(&"smoke/redirect.fuse sent a curve while it was not running".into()),
        "{anomalies:?}"
    );
}

#[test]
fn a_case_whose_end_was_lost_or_damaged_is_not_a_pass() {
    let frame = |fake: &mut Fake| {
        fake.encoder.encode(&Record::CaseEnd {
            case: "smoke/boot".into(),
            outcome: Outcome::Pass,
            millis: 1,
            taint: 0,
            figures: BTreeMap::new(),
        })
    };
    // Corrupted: one byte of the payload differs.
    let mut fake = Fake::up();
    fake.start(1, "smoke/boot");
    let corrupt = frame(&mut fake).replace("pass", "pasS");
    fake.raw(corrupt.as_bytes());
    fake.pass(2, "smoke/redirect.fuse");
    fake.watch.close(BootEnd::Goodbye);
    assert_eq!(fake.verdicts(), ["smoke/boot infra", "smoke/redirect.fuse pass"]);

    // Truncated: the machine stopped inside the frame.
    let mut fake = Fake::up();
    fake.start(1, "smoke/boot");
    let whole = frame(&mut fake);
    fake.raw(&whole.as_bytes()[..whole.len() / 2]);
    fake.watch.close(BootEnd::Goodbye);
    assert_eq!(fake.verdicts(), ["smoke/boot infra"]);

    // Lost: only the gap in the frame numbers shows it.
    let mut fake = Fake::up();
    fake.start(1, "smoke/boot");
    frame(&mut fake);
    fake.pass(2, "smoke/redirect.fuse");
    fake.watch.close(BootEnd::Goodbye);
    assert_eq!(fake.verdicts()[0], "smoke/boot infra");
}

#[test]
fn a_guest_that_falls_silent_is_stopped_and_one_that_works_is_not() {
    let mut fake = Fake::up();
    fake.start(1, "smoke/boot");
    for _ in 0..3 {
        fake.record(Record::Alive);
        assert_eq!(fake.watch.stop_reason(fake.now), None);
    }
    assert_eq!(fake.watch.stop_reason(fake.now + 19 * SECOND), None);
    let end = fake.watch.stop_reason(fake.now + 20 * SECOND).unwrap();
    assert_eq!(end, BootEnd::Silence(Phase::Test));
    fake.watch.close(end);
    assert_eq!(fake.verdicts(), ["smoke/boot timeout"]);
}

#[test]
fn the_host_stops_a_case_that_the_guest_fails_to_end() {
    let mut fake = Fake::up();
    fake.start(1, "smoke/boot");
    for _ in 0..25 {
        fake.record(Record::Alive);
    }
    assert_eq!(fake.watch.stop_reason(fake.now), Some(BootEnd::Overtime(Phase::Test)));
}

#[test]
fn a_kernel_that_never_gets_to_init_is_stopped() {
    let mut fake = Fake::new();
    for _ in 0..59 {
        fake.console("[    0.1] still here");
    }
    assert_eq!(fake.watch.stop_reason(fake.now), None);
    fake.console("[    0.1] still here");
    assert_eq!(fake.watch.stop_reason(fake.now), Some(BootEnd::Overtime(Phase::Boot)));
}

#[test]
fn a_machine_with_another_cache_is_not_tested() {
    let caches = |words: &str| {
        let mut fake = Fake::new();
        fake.watch.expect_caches(Some(words.into()));
        fake.hello();
        fake.watch.stop_reason(fake.now)
    };
    assert_eq!(caches("VIPT aliasing data cache"), None);
    let end = caches("VIVT data cache").unwrap();
    insta::assert_snapshot!(crate::judge::describe_end(&end), @r#"the machine has the wrong cache: expected the kernel to print "VIVT data cache" about its caches, but it printed "CPU: VIPT aliasing data cache, unknown instruction cache""#);
}

#[test]
fn records_of_unplanned_cases_are_anomalies_without_a_verdict() {
    let mut fake = Fake::up();
    fake.end("smoke/boot", Outcome::Pass);
    fake.start(1, "smoke/made-up");
    let events = fake.watch.take_events();
    let anomalies = events.iter().filter(|event| matches!(event, BootEvent::Anomaly(_)));
    assert_eq!(anomalies.count(), 2);
    fake.watch.close(BootEnd::Goodbye);
    assert!(fake.verdicts().is_empty());
}

#[test]
fn a_file_is_passed_on_when_it_is_complete() {
    let part = |name: &str, size, part: &[u8]| Record::File {
        name: name.into(),
        size,
        part: part.to_vec(),
    };
    let mut fake = Fake::up();
    fake.watch.take_events();
    // A slow port causes no timeout while parts keep arriving.
    for _ in 0..30 {
        fake.record(part("dmmap.gcda", 31, b"x"));
    }
    assert_eq!(fake.watch.stop_reason(fake.now), None);
    assert!(fake.watch.take_events().is_empty());
    fake.record(part("dmmap.gcda", 31, b"y"));
    let bytes = [&[b'x'; 30][..], b"y"].concat();
    let name = "dmmap.gcda".to_owned();
    assert_eq!(fake.watch.take_events(), [BootEvent::File { name, bytes }]);

    fake.record(part("../up", 1, b"z"));
    fake.record(part("dev.gcda", 3, b"z"));
    fake.watch.close(BootEnd::Goodbye);
    let anomalies = [
        "rejected a file from the guest: \"../up\" is not a plain file name",
        "incomplete files from the guest: dev.gcda (1 of 3 bytes)",
    ];
    assert_eq!(fake.watch.take_events(), anomalies.map(|text| BootEvent::Anomaly(text.into())));
}

/// Returns a guest whose init is running, under an oracle that has written `text` so far.
fn up_with_oracle(text: &str) -> Fake {
    let mut fake = Fake::up();
    fake.watch.attach_oracle(armv6(), Vec::new());
    fake.watch.push_findings(text.as_bytes());
    fake
}

fn lines(lines: &[String]) -> Vec<u8> {
    (lines.join("\n") + "\n").into_bytes()
}

#[test]
fn a_finding_fails_the_case_of_its_window() {
    let mut fake = up_with_oracle(&trusted());
    fake.watch.push_findings(&lines(&[quiet(16)]));
    fake.pass(1, "smoke/boot");
    fake.watch.push_findings(&lines(&[opened(17), found(17, 1), ended(17, 17)]));
    fake.pass(2, "smoke/redirect.fuse");
    fake.watch.push_findings(&lines(&[quiet(18)]));
    fake.pass(3, "smoke/redirect.cuse");
    fake.record(Record::Goodbye);
    assert_eq!(fake.watch.stop_reason(fake.now), None);
    assert_eq!(fake.watch.close(BootEnd::Qemu(End::Exit)), BootEnd::Goodbye);
    assert_eq!(
        fake.verdicts(),
        ["smoke/boot pass", "smoke/redirect.fuse fail", "smoke/redirect.cuse pass"]
    );
}

#[test]
fn an_oracle_that_missed_a_control_ends_the_boot_at_its_first_case() {
    let mut fake = up_with_oracle(&trusted().replace(KNOWN, "{\"window\":{\"id\":0}}"));
    assert_eq!(fake.watch.stop_reason(fake.now), None, "the control may still follow");
    fake.start(1, "smoke/boot");
    let end = fake.watch.stop_reason(fake.now).expect("the first case has started");
    let why = "it did not check the physical address of a known page";
    assert_eq!(end, BootEnd::Oracle(why.into()));
    assert_eq!(fake.watch.close(end.clone()), end);
    assert_eq!(fake.verdicts(), ["smoke/boot infra"]);
}

#[test]
fn cases_that_ran_after_the_oracle_gave_up_are_not_trusted() {
    let mut fake = up_with_oracle(&trusted());
    fake.watch.push_findings(&lines(&[quiet(16)]));
    fake.pass(1, "smoke/boot");
    let refused = r#"{"refused":{"why":"TTBR0 does not read back"}}"#.to_owned();
    fake.watch.push_findings(&lines(&[opened(17), refused]));
    fake.pass(2, "smoke/redirect.fuse");
    fake.pass(3, "smoke/redirect.cuse");
    fake.record(Record::Goodbye);
    let end = fake.watch.close(BootEnd::Qemu(End::Exit));
    assert_eq!(
        end,
        BootEnd::Oracle("the plugin stopped modelling: TTBR0 does not read back".into())
    );
    let verdicts = ["smoke/boot infra", "smoke/redirect.fuse infra", "smoke/redirect.cuse infra"];
    assert_eq!(fake.verdicts()[1..], verdicts[1..]);
}

#[test]
fn a_crash_in_an_open_window_is_a_crash_not_distrust_of_the_oracle() {
    let mut fake = up_with_oracle(&trusted());
    fake.start(1, "smoke/boot");
    fake.watch.push_findings(&lines(&[opened(16), found(16, 1)]));
    fake.console("[    2.0] Kernel panic - not syncing: sysrq triggered crash");
    let end = fake.watch.close(BootEnd::Qemu(End::Exit));
    assert!(matches!(end, BootEnd::Crash(_)), "{end:?}");
    assert_eq!(fake.verdicts(), ["smoke/boot crash"]);
}

#[test]
fn the_output_of_a_program_is_passed_on_and_kept_by_line() {
    let mut fake = Fake::up();
    fake.start(1, "smoke/boot");
    let output = |case: &str, stream, text: &str| Record::Output {
        case: case.into(),
        stream,
        bytes: text.as_bytes().to_vec(),
    };
    fake.record(output("smoke/boot", Stream::Stdout, "one\ntw"));
    fake.record(output("smoke/boot", Stream::Stderr, "o\nno end"));
    fake.record(output("smoke/other", Stream::Stdout, "lost"));
    fake.end("smoke/boot", Outcome::Pass);
    fake.watch.close(BootEnd::Qemu(End::Exit));
    let (mut printed, mut log) = (Vec::new(), Vec::new());
    for event in fake.watch.take_events() {
        match event {
            BootEvent::Output { stream, bytes } => {
                printed.push(format!("{stream:?} {:?}", String::from_utf8_lossy(&bytes)));
            }
            BootEvent::CaseEnded(observation) => log.extend(observation.log),
            BootEvent::Anomaly(text) => printed.push(text),
            _ => {}
        }
    }
    assert_eq!(log, ["one", "two", "no end"]);
    insta::assert_snapshot!(printed.join("\n"), @r#"
    Stdout "one\ntw"
    Stderr "o\nno end"
    smoke/other printed while it was not running
    "#);
}
