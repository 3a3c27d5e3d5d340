// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handwritten scripts, and the outcomes that the model predicts.

use super::*;
use crate::cases::fuzz::step::parse;

fn world() -> World {
    World { page: 4096, big_endian: false, lazy: false, limit: 4 }
}

/// Returns the outcome of the last step of a script, and the counters after it.
fn after(world: World, script: &str) -> (Outcome, Counts) {
    let mut model = Model::new(world);
    let outcomes = parse(script).unwrap();
    let outcome = outcomes.iter().map(|step| model.apply(step)).last();
    (outcome.unwrap(), model.counts())
}

#[track_caller]
fn assert_after(script: &str, outcome: Outcome, counts: (u64, u64, u64, u64)) {
    let (pages, maps, mmaps, munmaps) = counts;
    let counts = Counts { pages: Some(pages), maps, mmaps, munmaps };
    assert_eq!(after(world(), script), (outcome, counts), "{script}");
}

#[test]
fn a_page_lives_while_it_is_mapped() {
    use Outcome::{Done, Word};
    let both = "start c0; map c0.1 2+3; map s.2 3+1; store c0.1 1 77";
    assert_after(both, Done, (1, 2, 1, 0));
    assert_after(&format!("{both}; load s.2 0"), Word(77), (1, 2, 1, 0));
    let left = format!("{both}; kill c0; load s.2 0");
    assert_after(&left, Word(77), (1, 1, 1, 1));
    let gone = format!("{both}; kill c0; unmap s.2; map s.3 3+1; load s.3 0");
    assert_after(&gone, Word(0), (1, 1, 1, 1));
    assert_after(&format!("{both}; free 0+6; load s.2 0"), Word(0), (1, 2, 1, 0));
    assert_after(&format!("{both}; zap c0.1; load s.2 0"), Word(77), (1, 2, 1, 0));
}

#[test]
fn parts_are_mappings_of_one_grant() {
    use Outcome::Done;
    let three = "start c0; map c0.1 0+3; store c0.1 0 1; store c0.1 1 2; store c0.1 2 3";
    let punched = format!("{three}; punch c0.1 1+1 4");
    assert_after(&punched, Done, (3, 1, 1, 0));
    let tail = format!("{punched}; unmap c0.1; load c0.4 0");
    assert_after(&tail, Outcome::Word(3), (3, 1, 1, 0));
    assert_after(&format!("{tail}; unmap c0.4"), Done, (0, 0, 1, 1));
    let again = format!("{tail}; map c0.6 1+1; load c0.6 0");
    assert_after(&again, Outcome::Word(2), (3, 2, 2, 0));
    assert_after(&format!("{again}; unmap c0.4"), Done, (1, 1, 2, 1));
    let at_an_end = format!("{three}; punch c0.1 0+2 4");
    assert_after(&at_an_end, Done, (3, 1, 1, 0));
    let protected = format!("{three}; protect c0.1 1+1 4 5");
    assert_after(&protected, Done, (3, 1, 1, 0));
    let store = format!("{protected}; store c0.4 0 9");
    assert_after(&store, Outcome::Touch(Touch::Sigsegv), (3, 1, 1, 0));
    assert_after(&format!("{three}; move c0.1 2"), Done, (3, 1, 1, 0));
    let shifted = format!("{three}; shift c0.1 0+2 4 5; unmap c0.5; load c0.4 1");
    assert_after(&shifted, Outcome::Word(2), (3, 1, 1, 0));
    let of_server =
        "start c0; map s.1 0+2; store s.1 0 5; punch s.1 0+1 2; map c0.3 0+1; load c0.3 0";
    assert_after(of_server, Outcome::Word(5), (1, 2, 1, 0));
}

#[test]
fn a_child_has_what_its_parent_has() {
    let forked = "start c0; map c0.1 0+2; store c0.1 0 1; fork c0 c1; unmap c0.1; quit c0";
    assert_after(forked, Outcome::Done, (1, 1, 1, 0));
    let load = format!("{forked}; load c1.1 0");
    assert_after(&load, Outcome::Word(1), (1, 1, 1, 0));
    assert_after(&format!("{forked}; kill c1"), Outcome::Done, (0, 0, 1, 1));
}

#[test]
fn limits_refuse() {
    use Outcome::{Done, Refused, Word};
    let one = "start c0; map c0.1 0+3; limit 1; store c0.1 0 5";
    assert_after(one, Done, (1, 1, 1, 0));
    assert_after(&format!("{one}; load c0.1 1"), Outcome::Touch(Touch::Sigbus), (1, 1, 1, 0));
    assert_after(&format!("{one}; put 1+1 7"), Refused(Errno::ENOSPC), (1, 1, 1, 0));
    assert_after(&format!("{one}; map c0.2 0+2"), Refused(Errno::ENOMEM), (1, 1, 1, 0));
    assert_after(&format!("{one}; limit 2; load c0.1 1"), Word(0), (2, 1, 1, 0));
    assert_after("start c0; long c0", Refused(Errno::ENOMEM), (0, 0, 0, 0));
    assert_after("private s 0+1", Refused(Errno::EINVAL), (0, 0, 0, 0));
}

#[test]
fn accesses_by_id_stop_at_the_first_missing_page() {
    let world = world();
    let words = |indices: &[u64]| {
        Outcome::Words(indices.iter().map(|&index| world.put_word(7, index)).collect())
    };
    let put = "start c0; map c0.1 1+2; put 1+3 7";
    assert_after(put, Outcome::Refused(Errno::ENXIO), (2, 1, 1, 0));
    assert_after(&format!("{put}; get 1+4"), words(&[0, 1]), (2, 1, 1, 0));
    assert_after(&format!("{put}; get 0+4"), words(&[]), (2, 1, 1, 0));
}

#[test]
fn a_step_about_something_missing_does_nothing() {
    for step in [
        "map c0.1 0+1",
        "start c0; start c0",
        "unmap s.1",
        "map s.1 0+2; load s.1 2",
        "map s.1 0+2; map s.1 0+2",
        "map s.1 0+2; punch s.1 1+2 3",
        "look s.1 0+2; protect s.1 0+1 2 3",
        "map s.1 0+2; move s.1 3",
        "fork c0 c1",
        "kill c0",
    ] {
        assert_eq!(after(world(), step).0, Outcome::Nothing, "{step}");
    }
}

#[test]
fn pages_that_the_server_fills_survive() {
    let lazy = World { lazy: true, ..world() };
    let script = "start c0; map c0.1 0+2; store c0.1 1 9; kill c0; start c1; map c1.2 1+1; limit 1; load c1.2 0";
    let (outcome, counts) = after(lazy, script);
    assert_eq!(outcome, Outcome::Word(9));
    assert_eq!((counts.pages, counts.munmaps), (None, 1));
    let put = |limit| after(lazy, &format!("start c0; map c0.1 0+2; limit {limit}; put 0+2 1")).0;
    assert_eq!((put(4), put(3)), (Outcome::Done, Outcome::Nothing));
    let punched = "start c0; map c0.1 0+2; punch c0.1 0+1 2; put 0+1 1";
    assert_eq!(after(lazy, punched).0, Outcome::Done);
    assert_eq!(after(world(), punched).0, Outcome::Done);
    let unmapped = "start c0; map c0.1 0+2; unmap c0.1; put 0+1 1";
    assert_eq!(after(world(), unmapped).0, Outcome::Refused(Errno::ENXIO));
}

#[test]
fn nothing_is_left_after_the_last_steps() {
    let mut model = Model::new(world());
    for step in parse("map s.1 0+2; start c0; map c0.2 1+2; put 0+2 1; fork c0 c3").unwrap() {
        model.apply(&step);
    }
    for step in model.last_steps() {
        assert_eq!(model.apply(&step), Outcome::Done);
    }
    let counts = model.counts();
    assert_eq!((counts.pages, counts.maps), (Some(0), 0));
    assert_eq!((counts.mmaps, counts.munmaps), (1, 1));
}

#[test]
fn outcomes_are_named_for_a_person() {
    let counts = Counts { pages: Some(2), maps: 3, mmaps: 1, munmaps: 0 };
    insta::assert_snapshot!(counts.words(), @"2 pages, 3 mappings, 1 FUSE_MMAPs, 0 FUSE_MUNMAPs");
    let counts = Counts { pages: None, ..counts };
    insta::assert_snapshot!(counts.words(), @"3 mappings, 1 FUSE_MMAPs, 0 FUSE_MUNMAPs");
    insta::assert_snapshot!(Outcome::Nothing.words(), @"nothing to do");
    insta::assert_snapshot!(Outcome::Done.found(), @"but it succeeded");
    insta::assert_snapshot!(Outcome::Refused(Errno::EINVAL).found(), @"found EINVAL");
    insta::assert_snapshot!(Outcome::Touch(Touch::Sigbus).words(), @"SIGBUS");
    insta::assert_snapshot!(Outcome::Word(7).found(), @"found the word 7");
    insta::assert_snapshot!(Outcome::Words(vec![7, 8]).words(), @"the words 7, 8");
    insta::assert_snapshot!(Outcome::Words(vec![]).words(), @"no words");
}
