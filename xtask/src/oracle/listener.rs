// SPDX-License-Identifier: MIT OR Apache-2.0
//! Listens to the plugin through one boot: what was found in each window, and whether it can be trusted.
//!
//! Before the first case the guest shows the plugin three things of which the answer is known. An oracle that gets one
//! of them wrong, or that does not say of a window that it is over, says nothing of any case.

use std::collections::BTreeMap;

use oracle_wire::window;

use super::Config;
use super::line::{End, Finding, Hello, Known, Message};

/// What was found in a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Window {
    /// The findings that were written, in order.
    pub findings: Vec<Finding>,
    /// Its end; none where the boot ended first.
    pub end: Option<End>,
    /// Bytes in a page of the machine.
    pub page: u64,
}

impl Window {
    /// How many findings differ, those that were not written included.
    pub(crate) fn distinct(&self) -> u64 {
        let counted = self.end.as_ref().map_or(0, |end| end.distinct);
        counted.max(self.findings.len() as u64)
    }

    /// How often the finding of this number was found, as far as is known.
    pub(crate) fn times(&self, number: u32) -> u64 {
        let counts = self.end.iter().flat_map(|end| &end.repeats);
        let place = (number as usize).checked_sub(1);
        place
            .and_then(|place| counts.copied().nth(place))
            .unwrap_or(1)
    }
}

/// What the oracle has to say of a case: what was found, or why it cannot be trusted.
pub(crate) type Heard = Result<Window, String>;

/// Listens through one boot.
#[derive(Debug)]
pub(crate) struct Listener {
    /// What the plugin was told.
    config: Config,
    /// Cases of the boot.
    cases: usize,
    /// The line that has not ended yet.
    partial: Vec<u8>,
    hello: bool,
    known: bool,
    windows: BTreeMap<u32, Window>,
    distrust: Option<String>,
}

impl Listener {
    /// Listens to a plugin that was told `config`, in a boot of so many cases.
    pub(crate) fn new(config: Config, cases: usize) -> Self {
        Self {
            config,
            cases,
            partial: Vec::new(),
            hello: false,
            known: false,
            windows: BTreeMap::new(),
            distrust: None,
        }
    }

    /// Takes what the plugin wrote since the last time.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.partial);
                    self.text(&String::from_utf8_lossy(&line));
                }
                byte => self.partial.push(byte),
            }
        }
    }

    /// Why it cannot be trusted, if so.
    pub(crate) fn distrust(&self) -> Option<&str> {
        self.distrust.as_deref()
    }

    /// The first case starts: what had to be shown before has been shown.
    pub(crate) fn check_controls(&mut self) {
        if let Some(why) = self.missed_control() {
            self.doubt(why);
        }
    }

    /// What it has to say of the case at place `at` of the boot's plan. One that was cut short has no end of its window
    /// to show.
    pub(crate) fn of_case(&mut self, at: usize, cut_short: bool) -> Heard {
        let window = self.windows.remove(&window::of_case(at));
        let trouble = match (&window, cut_short) {
            (_, true) => None,
            (None, _) => Some("it was never told of this case".to_owned()),
            (Some(window), _) => window.trouble(),
        };
        if let Some(trouble) = trouble {
            self.doubt(trouble);
        }
        match &self.distrust {
            Some(why) => Err(why.clone()),
            None => Ok(window.unwrap_or_else(|| self.window())),
        }
    }

    /// The first reason counts: those after it may be its consequences.
    fn doubt(&mut self, why: String) {
        self.distrust.get_or_insert(why);
    }

    fn window(&self) -> Window {
        Window {
            page: self.config.page,
            ..Window::default()
        }
    }

    fn text(&mut self, text: &str) {
        match serde_json::from_str(text) {
            Ok(line) => self.line(line),
            Err(error) => self.doubt(format!(
                "it wrote {text:?}, which the lab cannot read: {error}"
            )),
        }
    }

    fn line(&mut self, line: Message) {
        match line {
            Message::Hello(hello) => self.greeted(&hello),
            Message::Refused { why } => self.doubt(format!("it does not trust itself: {why}")),
            Message::Window { id } => {
                let fresh = self.window();
                self.windows.insert(id, fresh);
            }
            Message::Known(known) => self.shown(&known),
            Message::Finding(finding) => self.found(*finding),
            Message::End(end) => match self.windows.get_mut(&end.window) {
                Some(window) => window.end = Some(end),
                None => self.doubt(format!("window {} ended without having begun", end.window)),
            },
        }
    }

    fn greeted(&mut self, hello: &Hello) {
        let asked = (self.config.arch, self.config.cache, self.config.depth);
        if (hello.arch, hello.cache, hello.depth) != asked {
            let said = serde_json::to_string(hello).expect("it was read from JSON");
            self.doubt(format!("it does not model what it was asked to: {said}"));
        }
        self.hello = true;
    }

    fn shown(&mut self, known: &Known) {
        if known.physical != Some(known.expected) {
            let seen = known
                .physical
                .map_or("none".into(), |seen| seen.to_string());
            self.doubt(format!(
                "of the address {} the guest says that its physical address is {}, and QEMU says {seen}",
                known.address, known.expected
            ));
        }
        self.known = true;
    }

    fn found(&mut self, finding: Finding) {
        let id = finding.window;
        let of_case = (window::of_case(0)..window::of_case(self.cases)).contains(&id);
        match self.windows.get_mut(&id) {
            Some(window) if of_case || id == window::INCOHERENT => window.findings.push(finding),
            Some(_) if id == window::COHERENT => self.doubt(format!(
                "it found a fault where there is none: {}",
                super::story::sentence(&finding, self.config.page)
            )),
            Some(_) => self.doubt(format!(
                "it found something in window {id}, which is no case's"
            )),
            None => self.doubt(format!(
                "it found something in window {id}, which is not open"
            )),
        }
    }

    fn missed_control(&self) -> Option<String> {
        let window = |id, what: &str| match self.windows.get(&id) {
            None => Some(format!("the guest did not show it {what}")),
            Some(window) => window
                .trouble()
                .map(|trouble| format!("{trouble}, when it was shown {what}")),
        };
        if !self.hello {
            return Some("it never said that it is there".into());
        }
        if !self.known {
            return Some("it was shown no address whose page is known".into());
        }
        let controls = window(window::COHERENT, "two mappings that agree");
        let controls =
            controls.or_else(|| window(window::INCOHERENT, "two mappings that do not agree"));
        controls.or_else(|| {
            let planted = &self.windows[&window::INCOHERENT];
            let missed = planted.distinct() == 0;
            missed.then(|| "it did not find the fault that was planted".into())
        })
    }
}

impl Window {
    /// What keeps a window that should be whole from being believed.
    fn trouble(&self) -> Option<String> {
        match &self.end {
            None => Some("it did not see the end".into()),
            Some(end) if end.accesses == 0 => Some("it saw no access".into()),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::armv6;
    use super::super::line::tests::{HELLO, KNOWN, ended, found, opened, quiet, trusted};
    use super::*;

    /// A boot of two cases in which this was written before the first.
    fn after(text: &str) -> Listener {
        let mut listener = Listener::new(armv6(), 2);
        listener.push(text.as_bytes());
        listener.check_controls();
        listener
    }

    fn distrust(text: &str) -> String {
        after(text).distrust().unwrap_or("none").to_owned()
    }

    #[test]
    fn what_is_found_belongs_to_its_case() {
        let mut listener = after(&trusted());
        let first = [opened(16), found(16, 1), found(16, 2), ended(16, 40)].join("\n") + "\n";
        // However the bytes come.
        first.bytes().for_each(|byte| listener.push(&[byte]));
        listener.push((quiet(17) + "\n").as_bytes());
        let window = listener.of_case(0, false).unwrap();
        let numbers: Vec<_> = window.findings.iter().map(|found| found.number).collect();
        assert_eq!(
            (numbers, window.distinct(), window.page),
            (vec![1, 2], 2, 4096)
        );
        let window = listener.of_case(1, false).unwrap();
        assert_eq!(
            (window.distinct(), window.end.unwrap().accesses),
            (0, 12345)
        );
        assert_eq!(listener.distrust(), None);
    }

    #[test]
    fn findings_that_were_only_counted_count() {
        let mut listener = after(&trusted());
        listener.push(
            [opened(16), ended(16, 40), String::new()]
                .join("\n")
                .as_bytes(),
        );
        assert_eq!(listener.of_case(0, false).unwrap().distinct(), 1);
    }

    #[test]
    fn an_oracle_that_misses_a_control_is_not_trusted() {
        let without = |part: &str| distrust(&trusted().replace(part, ""));
        let planted = format!("{}\n", found(2, 1));
        let missed = trusted()
            .replace(&planted, "")
            .replace(&ended(2, 17), &ended(2, 0));
        let all = [
            distrust(&trusted()),
            distrust(""),
            without(&format!("{HELLO}\n")),
            without(&format!("{KNOWN}\n")),
            without(&format!("{}\n", quiet(1))),
            without(&format!("{}\n", ended(2, 17))),
            distrust(&trusted().replace("12345", "0")),
            distrust(&missed),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        none
        it never said that it is there
        it never said that it is there
        it was shown no address whose page is known
        the guest did not show it two mappings that agree
        it did not see the end, when it was shown two mappings that do not agree
        it saw no access, when it was shown two mappings that agree
        it did not find the fault that was planted
        ");
    }

    #[test]
    fn an_oracle_that_is_wrong_is_not_trusted() {
        let wrong = |from: &str, to: &str| distrust(&trusted().replace(from, to));
        let all = [
            wrong(r#""expected":"0x4c3f000""#, r#""expected":"0x4c40000""#),
            wrong(r#""physical":"0x4c3f000""#, r#""physical":null"#),
            wrong(&quiet(1), &[opened(1), found(1, 1), ended(1, 1)].join("\n")),
            wrong(&quiet(1), &found(7, 1)),
            wrong(r#""line":32,"write":"back""#, r#""line":64,"write":"back""#),
            wrong(r#""depth":"user""#, r#""depth":"full""#),
            wrong(
                HELLO,
                &format!("{HELLO}\n{{\"refused\":{{\"why\":\"the ring is full\"}}}}"),
            ),
            wrong(KNOWN, "{\"known\":"),
            wrong(&opened(1), ""),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        of the address 0xb6ff1000 the guest says that its physical address is 0x4c40000, and QEMU says 0x4c3f000
        of the address 0xb6ff1000 the guest says that its physical address is 0x4c3f000, and QEMU says none
        it found a fault where there is none: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while what a process stored to 0x40013020 (colour 3) may be in the cache only
        it found something in window 7, which is not open
        it does not model what it was asked to: {"version":"0.1.0","api":4,"arch":"arm","cache":{"kind":"vipt","period":16384,"line":64,"write":"back"},"depth":"user"}
        it does not model what it was asked to: {"version":"0.1.0","api":4,"arch":"arm","cache":{"kind":"vipt","period":16384,"line":32,"write":"back"},"depth":"full"}
        it does not trust itself: the ring is full
        it wrote "{\"known\":", which the lab cannot read: EOF while parsing a value at line 1 column 9
        it wrote "", which the lab cannot read: EOF while parsing a value at line 1 column 0
        "#);
    }

    #[test]
    fn a_window_without_an_end_is_trusted_only_where_the_boot_ended_in_it() {
        let open = opened(16) + "\n" + &found(16, 1) + "\n";
        let mut listener = after(&trusted());
        listener.push(open.as_bytes());
        assert_eq!(listener.of_case(0, true).unwrap().distinct(), 1);
        // The guest died before it opened the window.
        assert_eq!(listener.of_case(1, true).unwrap().distinct(), 0);
        let mut listener = after(&trusted());
        listener.push(open.as_bytes());
        assert_eq!(
            listener.of_case(0, false),
            Err("it did not see the end".into())
        );
        // And what it says of later cases is worth nothing either.
        listener.push((quiet(17) + "\n").as_bytes());
        listener.of_case(1, false).unwrap_err();
        let mut listener = after(&trusted());
        assert_eq!(
            listener.of_case(1, false),
            Err("it was never told of this case".into())
        );
    }
}
