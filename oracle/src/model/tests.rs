// SPDX-License-Identifier: GPL-2.0-or-later
use proptest::prelude::*;

use super::reference::{PLACES, Reference, WORDS};
use super::*;

const LINE: u64 = 0x8000;

const PAGE: u64 = 4096;

/// Four colours of 4 KiB.
const CACHE: Cache =
    Cache { kind: CacheKind::Vipt, period: 4 * PAGE, line: 32, write: WritePolicy::Back };

/// The model of a cache with four colours, and its findings.
struct Bench {
    model: Model,
    process: AddressSpace,
    at: u64,
    findings: Vec<Finding>,
}

impl Bench {
    fn new(write: WritePolicy) -> Bench {
        let cache = Cache { write, ..CACHE };
        let process = AddressSpace::NONE;
        Bench { model: Model::new(&cache, PAGE), process, at: 0, findings: Vec::new() }
    }

    /// Applies one operation to the line and returns the kind of its finding.
    fn step(&mut self, op: Op, place: Option<Place>) -> Option<FindingKind> {
        self.access(op, place, LINE, 4)
    }

    /// Like [`Bench::step`], for one word of the line.
    fn word(&mut self, op: Op, place: Option<Place>, word: usize) -> Option<FindingKind> {
        self.access(op, place, LINE + 4 * word as u64, 4)
    }

    fn access(
        &mut self,
        op: Op,
        place: Option<Place>,
        physical: u64,
        size: u64,
    ) -> Option<FindingKind> {
        self.at += 1;
        // In the colour of the place.
        let address = 0x4000_0000 + place.unwrap_or(0) * PAGE + physical % PAGE;
        let access = Access {
            at: self.at,
            op,
            by: By::Process,
            tables: None,
            process: self.process,
            address,
            physical,
            size,
            place,
            allocates: true,
            pc: 0x100 + self.at,
            trace: Trace::default(),
        };
        let effect = place.and_then(|place| self.model.effect(physical, size, place));
        if op == Load && place.is_some() && self.model.remembers_load(address, size as u32) {
            assert!(effect.is_some(), "{access:?} changes something");
            return None;
        }
        match (op, effect) {
            (Load, Some(_)) => {
                self.model.remember_load(address, size, size as u32);
                return None;
            }
            (Store, Some(StoreEffect::Nothing)) => return None,
            (Store, Some(StoreEffect::IsLast)) => {
                self.model.repeat(&access);
                return None;
            }
            _ => {}
        }
        let before = self.findings.len();
        let findings = &mut self.findings;
        self.model.access(access, |finding| findings.push(finding));
        self.findings.get(before).map(|finding| finding.kind)
    }
}

/// Returns the kind of the finding of each step.
fn found(write: WritePolicy, steps: &[(Op, Place)]) -> Vec<Option<FindingKind>> {
    let mut bench = Bench::new(write);
    let found = steps.iter().map(|&(op, place)| bench.step(op, Some(place)));
    found.collect()
}

use FindingKind::{DirtyElsewhere, LostWrite, StaleCopy};
use Op::{Clean, Flush, Invalidate, Load, Store};

#[test]
fn one_colour_is_never_stale() {
    let steps = [(Store, 1), (Load, 1), (Store, 1), (Load, 1)];
    assert_eq!(found(WritePolicy::Back, &steps), [None; 4]);
    assert_eq!(found(WritePolicy::Through, &steps), [None; 4]);
}

#[test]
fn a_load_beside_a_dirty_copy_is_found() {
    let steps = [(Store, 1), (Load, 2)];
    assert_eq!(found(WritePolicy::Back, &steps), [None, Some(DirtyElsewhere)]);
    assert_eq!(found(WritePolicy::Through, &steps), [None, None]);
}

#[test]
fn a_copy_older_than_a_store_elsewhere_is_found() {
    let steps = [(Load, 2), (Store, 1), (Clean, 1), (Load, 2)];
    assert_eq!(found(WritePolicy::Back, &steps)[3], Some(StaleCopy));
    assert_eq!(found(WritePolicy::Through, &steps)[3], Some(StaleCopy));
}

#[test]
fn a_second_dirty_copy_is_found() {
    let steps = [(Store, 1), (Store, 2)];
    assert_eq!(found(WritePolicy::Back, &steps), [None, Some(LostWrite)]);
    let steps = [(Load, 2), (Store, 1), (Flush, 1), (Store, 2)];
    assert_eq!(found(WritePolicy::Through, &steps)[3], None);
}

#[test]
fn a_store_beside_stale_bytes_is_found() {
    let mut bench = Bench::new(WritePolicy::Back);
    bench.word(Load, Some(2), 0);
    bench.word(Store, Some(1), 0);
    bench.word(Flush, Some(1), 0);
    assert_eq!(bench.word(Load, Some(2), 1), None);
    let before = bench.findings.len();
    assert_eq!(bench.word(Store, Some(2), 1), Some(LostWrite));
    assert_eq!(bench.findings[before].earlier.at, 2);
}

#[test]
fn a_store_refreshes_stale_bytes() {
    let steps = [(Load, 2), (Store, 1), (Flush, 1), (Store, 2), (Load, 2)];
    assert_eq!(found(WritePolicy::Back, &steps), [None; 5]);
    assert_eq!(found(WritePolicy::Through, &steps), [None; 5]);
}

#[test]
fn flushing_both_places_prevents_findings() {
    let steps = [(Load, 2), (Store, 1), (Clean, 1), (Invalidate, 2), (Load, 2)];
    assert_eq!(found(WritePolicy::Back, &steps), [None; 5]);
}

#[test]
fn dirty_data_that_is_dropped_is_found_by_a_load() {
    let steps = [(Store, 1), (Invalidate, 1), (Load, 1)];
    assert_eq!(found(WritePolicy::Back, &steps)[2], Some(LostWrite));
    let steps = [(Store, 1), (Invalidate, 1), (Store, 1), (Load, 1)];
    assert_eq!(found(WritePolicy::Back, &steps), [None; 4]);
}

#[test]
fn an_uncached_access_uses_memory() {
    let mut bench = Bench::new(WritePolicy::Back);
    bench.step(Store, Some(1));
    assert_eq!(bench.step(Load, None), Some(DirtyElsewhere));
    bench.step(Flush, Some(1));
    assert_eq!(bench.step(Load, None), None);
    bench.step(Load, Some(1));
    assert_eq!(bench.step(Store, None), None);
    assert_eq!(bench.step(Load, Some(1)), Some(StaleCopy));
}

#[test]
fn whole_cache_operations_and_a_reset_prevent_findings() {
    let mut bench = Bench::new(WritePolicy::Back);
    bench.step(Store, Some(1));
    let flush = bench.model.pages.line_at(LINE).0.copies[0].cause;
    bench.model.flush_all(Access { op: Flush, ..flush });
    assert_eq!(bench.step(Load, Some(2)), None);
    bench.step(Store, Some(2));
    bench.model.reset_line(LINE + 4);
    assert_eq!(bench.step(Load, Some(3)), None);
    bench.step(Store, Some(3));
    bench.model.clean_all();
    assert_eq!(bench.step(Load, Some(1)), None);
}

/// Returns the kind of the finding of a load in place 2, after stores in place 1 by the process 1, or by none, and a
/// flush for the process 2. Each of `others` loads in place 1, too.
fn found_after_flush(stores_by: AddressSpace, others: &[usize]) -> Option<FindingKind> {
    let mut bench = Bench::new(WritePolicy::Back);
    bench.process = stores_by;
    bench.step(Store, Some(1));
    bench.step(Store, Some(1));
    let store = bench.model.pages.line_at(LINE).0.copies[0].cause;
    for other in others {
        bench.model.settle();
        bench.process = AddressSpace::new(*other);
        bench.step(Load, Some(1));
    }
    bench.model.flush_process(Access { op: Flush, process: AddressSpace::new(2), ..store });
    bench.process = AddressSpace::NONE;
    bench.step(Load, Some(2))
}

#[test]
fn a_flush_for_a_process_drops_what_the_process_used() {
    let one = AddressSpace::new(1);
    assert_eq!(found_after_flush(one, &[]), Some(DirtyElsewhere));
    assert_eq!(found_after_flush(AddressSpace::NONE, &[]), Some(DirtyElsewhere));
    assert_eq!(found_after_flush(AddressSpace::new(2), &[]), None);
    assert_eq!(found_after_flush(one, &[3]), Some(DirtyElsewhere));
    assert_eq!(found_after_flush(one, &[3, 2]), None);
    assert_eq!(found_after_flush(AddressSpace::NONE, &[2]), None);
}

#[test]
fn a_flush_for_a_process_drops_what_the_kernel_stored_in_its_pages() {
    let found = |used_at: Place| {
        let mut bench = Bench::new(WritePolicy::Back);
        // The kernel clears the page in a colour.
        bench.access(Store, Some(1), LINE, 32);
        bench.access(Store, Some(1), LINE + 32, 32);
        let (line, _) = bench.model.pages.line_at(LINE);
        let store = line.copies[0].cause;
        bench.process = AddressSpace::new(2);
        bench.access(Load, Some(used_at), LINE + 64, 4);
        bench.model.flush_process(Access { op: Flush, process: bench.process, ..store });
        bench.process = AddressSpace::NONE;
        bench.access(Load, Some(3), LINE + 32, 4)
    };
    assert_eq!((found(1), found(2)), (None, Some(DirtyElsewhere)));
}

#[test]
fn a_flush_for_a_process_keeps_the_last_store() {
    let mut bench = Bench::new(WritePolicy::Back);
    bench.process = AddressSpace::new(1);
    bench.step(Store, Some(1));
    bench.step(Store, Some(1));
    let store = bench.model.pages.line_at(LINE).0.copies[0].cause;
    bench.model.flush_process(Access { op: Flush, process: AddressSpace::new(2), ..store });
    assert_eq!(bench.step(Load, Some(2)), Some(DirtyElsewhere));
    assert_eq!(bench.findings[0].earlier.at, 2);
    bench.model.flush_process(Access { op: Flush, process: AddressSpace::new(1), ..store });
    bench.step(Store, Some(3));
    bench.model.flush_all(Access { op: Flush, ..store });
    assert_eq!(bench.step(Load, Some(1)), None);
}

#[test]
fn an_access_touches_several_lines_up_to_the_end_of_the_page() {
    let mut bench = Bench::new(WritePolicy::Back);
    bench.access(Store, Some(1), LINE + 28, 8);
    bench.access(Load, Some(2), LINE, 64);
    let lines: Vec<u64> = bench.findings.iter().map(|found| found.line).collect();
    assert_eq!(lines, [LINE, LINE + 32]);
    bench.access(Store, Some(1), LINE + 4092, 8);
    assert_eq!(bench.access(Load, Some(2), LINE + 4096, 4), None);
    assert_eq!(bench.access(Load, Some(2), LINE + 4064, 4), Some(DirtyElsewhere));
}

#[test]
fn a_finding_contains_the_last_store_and_the_story() {
    let mut bench = Bench::new(WritePolicy::Back);
    for (op, place) in [(Load, 1), (Store, 1), (Store, 1), (Load, 1), (Load, 2)] {
        bench.step(op, Some(place));
    }
    let finding = &bench.findings[0];
    assert_eq!((finding.earlier.at, finding.later.at), (3, 5));
    let story: Vec<u64> = finding.story.iter().map(|access| access.at).collect();
    assert_eq!(story, [1, 2, 5]);
    // The ring buffer wraps and keeps eight accesses.
    for place in (0..4).cycle().take(20) {
        bench.step(Load, Some(place));
    }
    let story = &bench.findings.last().unwrap().story;
    assert_eq!(story.len(), 8);
    assert!(story.is_sorted_by_key(|access| access.at));
}

#[test]
fn a_line_evicted_from_the_fast_path_keeps_its_last_store() {
    let mut bench = Bench::new(WritePolicy::Back);
    bench.step(Store, Some(1));
    bench.step(Store, Some(1));
    let other = LINE + fast_path::SLOTS as u64 * 32;
    bench.access(Load, Some(1), other, 4);
    bench.step(Load, Some(2));
    assert_eq!(bench.findings[0].earlier.at, 2);
}

#[test]
fn a_reset_line_leaves_the_fast_path() {
    let mut bench = Bench::new(WritePolicy::Back);
    bench.step(Store, Some(1));
    bench.model.reset_line(LINE);
    bench.step(Store, Some(1));
    assert_eq!(bench.step(Load, Some(2)), Some(DirtyElsewhere));
    assert_eq!(bench.findings[0].earlier.at, 2);
}

#[test]
fn a_model_that_starts_again_is_empty() {
    let mut bench = Bench::new(WritePolicy::Back);
    for (op, place) in [(Store, 1), (Store, 1), (Load, 3), (Invalidate, 1)] {
        bench.step(op, Some(place));
    }
    let store = bench.findings[0].earlier;
    bench.model.flush_all(Access { op: Flush, ..store });
    bench.findings.clear();
    bench.model.restart();
    // The lines of the page are used for another one.
    let other = LINE + PAGE;
    assert_eq!(bench.access(Load, Some(2), other, 4), None);
    assert_eq!(bench.access(Store, Some(1), other, 4), None);
    assert_eq!(bench.access(Load, Some(2), other, 4), Some(DirtyElsewhere));
    assert_eq!(bench.findings[0].story.len(), 3);
    assert_eq!(bench.step(Load, Some(3)), None);
}

#[test]
fn a_load_is_remembered_for_its_line_and_kind() {
    let mut model = Model::new(&CACHE, PAGE);
    model.remember_load(0x4000_1008, 4, 7);
    let remembers =
        |model: &Model, offset: u64, kind| model.remembers_load(0x4000_1000 + offset, kind);
    assert!(remembers(&model, 0, 7) && remembers(&model, 28, 7));
    // The next line, a load that continues there, another kind, and the same line of another page.
    assert!(!remembers(&model, 32, 7) && !remembers(&model, 29, 7) && !remembers(&model, 8, 6));
    assert!(!remembers(&model, 4 * PAGE + 8, 7));
    model.forget_loads();
    assert!(!remembers(&model, 8, 7));
}

#[test]
fn a_loop_over_a_line_is_one_access_in_its_story() {
    let mut bench = Bench::new(WritePolicy::Back);
    bench.step(Store, Some(1));
    for word in 0..8 {
        bench.at = 100;
        bench.word(Load, Some(2), word);
    }
    let last = bench.findings.last().unwrap();
    assert_eq!((bench.findings.len(), last.story.len()), (8, 2));
    assert_eq!(last.story[1].physical, LINE + 28);
}

#[test]
fn a_reset_line_begins_a_new_story() {
    let mut bench = Bench::new(WritePolicy::Back);
    for place in [1, 2, 3] {
        bench.step(Load, Some(place));
    }
    bench.model.reset_line(LINE);
    for (op, place) in [(Store, 1), (Load, 2)] {
        bench.step(op, Some(place));
    }
    let story: Vec<u64> = bench.findings[0].story.iter().map(|access| access.at).collect();
    assert_eq!(story, [4, 5]);
}

#[test]
fn places_are_colours_or_addresses() {
    let mut cache = CACHE;
    assert_eq!(Places::new(&cache, 4096).of(0xbeef_7123), 3);
    cache.kind = CacheKind::Vivt;
    assert_eq!(Places::new(&cache, 4096).of(0xbeef_7123), 0xbeef_7120);
    cache.kind = CacheKind::Physical;
    assert_eq!(Places::new(&cache, 4096).of(0xbeef_7123), 0);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Load(Option<usize>, usize),
    Store(Option<usize>, usize),
    Clean(usize),
    Flush(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES;
    let maybe = || prop_oneof![5 => place().prop_map(Some), 1 => Just(None)];
    let word = || 0..WORDS;
    prop_oneof![
        4 => (maybe(), word()).prop_map(|(place, word)| Step::Load(place, word)),
        4 => (maybe(), word()).prop_map(|(place, word)| Step::Store(place, word)),
        2 => place().prop_map(Step::Clean),
        2 => place().prop_map(Step::Flush),
    ]
}

fn write() -> impl Strategy<Value = WritePolicy> {
    prop_oneof![Just(WritePolicy::Back), Just(WritePolicy::Through)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 20_000, ..ProptestConfig::default() })]

    /// If hardware may answer a load with old data, the model has made a finding by then. If the model makes a finding,
    /// hardware may answer some load with old data.
    #[test]
    fn findings_are_what_hardware_may_do(write in write(), steps in prop::collection::vec(step(), 1..12)) {
        let mut hardware = Reference::new(write);
        let mut bench = Bench::new(write);
        for step in steps {
            let place = |place: Option<usize>| place.map(|place| place as Place);
            let mut stale = false;
            let found = match step {
                Step::Load(at, word) => {
                    stale = hardware.load(at, word);
                    bench.word(Load, place(at), word)
                }
                Step::Store(at, word) => {
                    hardware.store(at, word);
                    bench.word(Store, place(at), word)
                }
                Step::Clean(at) => {
                    hardware.clean(at);
                    bench.step(Clean, place(Some(at)))
                }
                Step::Flush(at) => {
                    hardware.flush(at);
                    bench.step(Flush, place(Some(at)))
                }
            };
            prop_assert!(!stale || !bench.findings.is_empty(), "{step:?} may return old data, but there is no finding");
            prop_assert!(found.is_none() || hardware.is_incoherent(), "{step:?} is reported as {found:?}, but the line is coherent");
            if found.is_some() {
                break;
            }
        }
    }
}
