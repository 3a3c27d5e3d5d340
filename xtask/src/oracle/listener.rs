// SPDX-License-Identifier: MIT OR Apache-2.0
//! Follows the plugin's output in one boot: collects the findings of each window, and decides if the oracle can be
//! trusted.
//!
//! Before the first case, three controls check the oracle: the guest names a page whose physical address is known, and
//! opens a window with coherent mappings and one with incoherent mappings. An oracle that fails a control cannot be
//! trusted in any case. An oracle that does not report the end of a case's window cannot be trusted in that case and in
//! all later ones.

use std::collections::BTreeMap;

use oracle_wire::window;

use super::Config;
use super::excuse::{self, Excuse};
use super::kallsyms::{self, Kallsyms};
use super::line::{End, Finding, Hello, Known, Message};

/// Findings of one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Window {
    /// Findings that the plugin wrote, in order, without the excused ones.
    pub findings: Vec<Finding>,
    /// Excused findings.
    pub excused: Vec<Excused>,
    /// Counts that the plugin wrote when the window closed. `None` if the boot ended first.
    pub end: Option<End>,
    /// Page size of the machine in bytes.
    pub page: u64,
}

/// A finding that is known and accepted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Excused {
    pub finding: Finding,
    pub excuse: Excuse,
}

impl Window {
    /// Returns the number of distinct findings, including those that were not written, without the excused ones.
    pub(crate) fn distinct(&self) -> u64 {
        let excused = self.excused.len() as u64;
        let counted = self.end.as_ref().map_or(0, |end| end.distinct);
        counted.saturating_sub(excused).max(self.findings.len() as u64)
    }

    /// Returns how often the conflict with this number was found, or 1 if the count is unknown.
    pub(crate) fn repeats(&self, number: u32) -> u64 {
        let mut counts = self.end.iter().flat_map(|end| &end.repeats);
        let index = (number as usize).checked_sub(1);
        index.and_then(|index| counts.nth(index).copied()).unwrap_or(1)
    }
}

/// Window of a case, or the reason why the oracle cannot be trusted.
pub(crate) type WindowResult = Result<Window, String>;

/// Reader of the plugin's output in one boot.
#[derive(Debug)]
pub(crate) struct Listener {
    config: Config,
    excuses: Vec<Excuse>,
    /// Functions that the plugin does not know, once the guest has sent them.
    kallsyms: Kallsyms,
    /// Number of cases in the boot's plan.
    cases: usize,
    /// Start of a line whose end has not arrived yet.
    partial: Vec<u8>,
    hello: bool,
    known: bool,
    windows: BTreeMap<u32, Window>,
    distrust: Option<String>,
}

impl Listener {
    /// Returns a listener for a plugin with the configuration `config`, in a boot with `cases` cases. It sets findings
    /// aside that `excuses` cover.
    pub(crate) fn new(config: Config, excuses: Vec<Excuse>, cases: usize) -> Self {
        Self {
            config,
            excuses,
            kallsyms: Kallsyms::default(),
            cases,
            partial: Vec::new(),
            hello: false,
            known: false,
            windows: BTreeMap::new(),
            distrust: None,
        }
    }

    /// Processes further output of the plugin.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.partial);
                    self.parse(&String::from_utf8_lossy(&line));
                }
                byte => self.partial.push(byte),
            }
        }
    }

    /// Takes a file that the guest has sent. The content of `/proc/kallsyms` names functions in later findings.
    pub(crate) fn take_file(&mut self, name: &str, bytes: &[u8]) {
        if name == kallsyms::FILE {
            self.kallsyms = Kallsyms::parse(&String::from_utf8_lossy(bytes));
        }
    }

    /// Returns the reason why the oracle cannot be trusted, or `None` if it can.
    pub(crate) fn distrust(&self) -> Option<&str> {
        self.distrust.as_deref()
    }

    /// Checks the controls. Call this when the first case starts.
    pub(crate) fn check_controls(&mut self) {
        if let Some(reason) = self.failed_control() {
            self.distrust_for(reason);
        }
    }

    /// Returns the result for the case at position `at` of the boot's plan. `cut_short` is true if the boot ended
    /// during the case; the window may then lack an end.
    pub(crate) fn case_result(&mut self, at: usize, cut_short: bool) -> WindowResult {
        let id = window::of_case(at);
        let window = self.windows.remove(&id);
        let defect = match (&window, cut_short) {
            (_, true) => None,
            (None, _) => Some(format!("the guest did not open window {id}")),
            (Some(window), _) => window.defect(&format!("window {id}")),
        };
        if let Some(defect) = defect {
            self.distrust_for(defect);
        }
        match &self.distrust {
            Some(reason) => Err(reason.clone()),
            None => Ok(window.unwrap_or_else(|| self.empty_window())),
        }
    }

    /// Marks the oracle as untrusted. Only the first reason is kept, because later ones may be its consequences.
    fn distrust_for(&mut self, reason: String) {
        self.distrust.get_or_insert(reason);
    }

    fn empty_window(&self) -> Window {
        Window { page: self.config.page, ..Window::default() }
    }

    fn parse(&mut self, line: &str) {
        match serde_json::from_str(line) {
            Ok(message) => self.handle(message),
            Err(error) => self.distrust_for(format!("it wrote the invalid line {line:?}: {error}")),
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Hello(hello) => self.check_hello(&hello),
            Message::Refused { why } => {
                self.distrust_for(format!("the plugin stopped modelling: {why}"));
            }
            Message::Window { id } => {
                let window = self.empty_window();
                self.windows.insert(id, window);
            }
            Message::Known(known) => self.check_known(&known),
            Message::Finding(finding) => self.add_finding(*finding),
            Message::End(end) => match self.windows.get_mut(&end.window) {
                Some(window) => window.end = Some(end),
                None => self.distrust_for(format!(
                    "it reported the end of window {}, which was never opened",
                    end.window
                )),
            },
        }
    }

    fn check_hello(&mut self, hello: &Hello) {
        let configured = (self.config.arch, self.config.cache, self.config.depth);
        if (hello.arch, hello.cache, hello.depth) != configured {
            let json = serde_json::to_string(hello).expect("it was read from JSON");
            self.distrust_for(format!("its model differs from its configuration: {json}"));
        }
        self.hello = true;
    }

    fn check_known(&mut self, known: &Known) {
        if known.physical != Some(known.expected) {
            let physical = known.physical.map_or("none".into(), |physical| physical.to_string());
            self.distrust_for(format!(
                "the physical address of {} is {} according to the guest, but {physical} according to QEMU",
                known.address, known.expected
            ));
        }
        self.known = true;
    }

    fn add_finding(&mut self, mut finding: Finding) {
        self.kallsyms.complete(&mut finding, self.config.arch);
        let id = finding.window;
        let of_case = (window::of_case(0)..window::of_case(self.cases)).contains(&id);
        let excuse = excuse::find(&self.excuses, &finding).cloned();
        if let (Some(excuse), Some(window)) = (excuse, self.windows.get_mut(&id)) {
            window.excused.push(Excused { finding, excuse });
            return;
        }
        match self.windows.get_mut(&id) {
            Some(window) if of_case || id == window::INCOHERENT => window.findings.push(finding),
            Some(_) if id == window::COHERENT => self.distrust_for(format!(
                "it reported a finding for coherent mappings: {}",
                super::story::sentence(&finding, self.config.page)
            )),
            Some(_) => self.distrust_for(format!(
                "it reported a finding in window {id}, which belongs to no case"
            )),
            None => self
                .distrust_for(format!("it reported a finding in window {id}, which is not open")),
        }
    }

    /// Returns a description of the first control that the oracle did not pass.
    fn failed_control(&self) -> Option<String> {
        let window_defect = |id, content: &str| {
            let name = format!("window {id} ({content})");
            match self.windows.get(&id) {
                None => Some(format!("the guest did not open {name}")),
                Some(window) => window.defect(&name),
            }
        };
        if !self.hello {
            return Some("it did not report its start".into());
        }
        if !self.known {
            return Some("it did not check the physical address of a known page".into());
        }
        let defect = window_defect(window::COHERENT, "coherent mappings");
        let defect = defect.or_else(|| window_defect(window::INCOHERENT, "incoherent mappings"));
        defect.or_else(|| {
            let planted = &self.windows[&window::INCOHERENT];
            let missed = planted.distinct() == 0;
            missed.then(|| "it did not find the planted error".into())
        })
    }
}

impl Window {
    /// Returns the reason why a window that should be complete cannot be trusted. `name` is the window's name in the
    /// reason.
    fn defect(&self, name: &str) -> Option<String> {
        match &self.end {
            None => Some(format!("it did not report the end of {name}")),
            Some(end) if end.accesses == 0 => Some(format!("it saw no access in {name}")),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::armv6;
    use super::super::excuse::tests::{excused, time};
    use super::super::line::tests::{HELLO, KNOWN, ended, found, opened, quiet, trusted};
    use super::*;

    /// Returns the listener of a boot with two cases, after the plugin wrote `text` before the first case.
    fn after(text: &str) -> Listener {
        let mut listener = Listener::new(armv6(), vec![time()], 2);
        listener.push(text.as_bytes());
        listener.check_controls();
        listener
    }

    fn distrust(text: &str) -> String {
        after(text).distrust().unwrap_or("none").to_owned()
    }

    #[test]
    fn a_finding_belongs_to_its_case() {
        let mut listener = after(&trusted());
        let first = [opened(16), found(16, 1), found(16, 2), ended(16, 40)].join("\n") + "\n";
        // The bytes may arrive in any pieces.
        first.bytes().for_each(|byte| listener.push(&[byte]));
        listener.push((quiet(17) + "\n").as_bytes());
        let window = listener.case_result(0, false).unwrap();
        let numbers: Vec<_> = window.findings.iter().map(|finding| finding.number).collect();
        assert_eq!((numbers, window.distinct(), window.page), (vec![1, 2], 2, 4096));
        let window = listener.case_result(1, false).unwrap();
        assert_eq!((window.distinct(), window.end.unwrap().accesses), (0, 12345));
        assert_eq!(listener.distrust(), None);
    }

    #[test]
    fn functions_that_the_guest_names_are_in_later_findings() {
        let mut listener = after(&trusted());
        listener.take_file("other", b"00010000 t wrong\n");
        listener.take_file("kallsyms", b"00010000 t fuse_copy_one\t[fuse]\n");
        let unnamed = found(16, 1).replace("\"clear_page+0x10\"", "null");
        listener.push([opened(16), unnamed, ended(16, 1), String::new()].join("\n").as_bytes());
        let window = listener.case_result(0, false).unwrap();
        let zeroed = &window.findings[0].story[0];
        assert_eq!(zeroed.culprit.as_deref(), Some("fuse_copy_one"));
        assert_eq!(zeroed.symbol.as_deref(), Some("fuse_copy_one+0xa34"));
    }

    #[test]
    fn an_excused_finding_does_not_count() {
        let line = |window, number| {
            serde_json::to_string(&Message::Finding(Box::new(excused(window, number)))).unwrap()
        };
        // Not even where there must be no finding.
        let coherent = [opened(1), line(1, 1), ended(1, 1)].join("\n");
        let mut listener = after(&trusted().replace(&quiet(1), &coherent));
        assert_eq!(listener.distrust(), None);
        let text = [opened(16), line(16, 1), ended(16, 40), String::new()].join("\n");
        listener.push(text.as_bytes());
        let window = listener.case_result(0, false).unwrap();
        assert_eq!((window.distinct(), window.findings.len(), window.excused.len()), (0, 0, 1));
        assert_eq!(window.excused[0].excuse.name, "time-page");
    }

    #[test]
    fn findings_that_were_not_written_count_as_well() {
        let mut listener = after(&trusted());
        listener.push([opened(16), ended(16, 40), String::new()].join("\n").as_bytes());
        assert_eq!(listener.case_result(0, false).unwrap().distinct(), 1);
    }

    #[test]
    fn an_oracle_that_fails_a_control_is_not_trusted() {
        let without = |part: &str| distrust(&trusted().replace(part, ""));
        let planted = format!("{}\n", found(2, 1));
        let missed = trusted().replace(&planted, "").replace(&ended(2, 17), &ended(2, 0));
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
        it did not report its start
        it did not report its start
        it did not check the physical address of a known page
        the guest did not open window 1 (coherent mappings)
        it did not report the end of window 2 (incoherent mappings)
        it saw no access in window 1 (coherent mappings)
        it did not find the planted error
        ");
    }

    #[test]
    fn an_oracle_with_wrong_output_is_not_trusted() {
        let wrong = |from: &str, to: &str| distrust(&trusted().replace(from, to));
        let all = [
            wrong(r#""expected":"0x4c3f000""#, r#""expected":"0x4c40000""#),
            wrong(r#""physical":"0x4c3f000""#, r#""physical":null"#),
            wrong(&quiet(1), &[opened(1), found(1, 1), ended(1, 1)].join("\n")),
            wrong(&quiet(1), &found(7, 1)),
            wrong(r#""line":32,"write":"back""#, r#""line":64,"write":"back""#),
            wrong(r#""depth":"user""#, r#""depth":"full""#),
            wrong(HELLO, &format!("{HELLO}\n{{\"refused\":{{\"why\":\"the ring is full\"}}}}")),
            wrong(KNOWN, "{\"known\":"),
            wrong(&opened(1), ""),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        the physical address of 0xb6ff1000 is 0x4c40000 according to the guest, but 0x4c3f000 according to QEMU
        the physical address of 0xb6ff1000 is 0x4c3f000 according to the guest, but none according to QEMU
        it reported a finding for coherent mappings: dirty-elsewhere in physical page 0x4c3f000: a process loaded from 0x40012020 (colour 2) while data that a process stored to 0x40013020 (colour 3) may be only in the cache
        it reported a finding in window 7, which is not open
        its model differs from its configuration: {"version":"0.1.0","api":4,"arch":"arm","cache":{"kind":"vipt","period":16384,"line":64,"write":"back"},"depth":"user"}
        its model differs from its configuration: {"version":"0.1.0","api":4,"arch":"arm","cache":{"kind":"vipt","period":16384,"line":32,"write":"back"},"depth":"full"}
        the plugin stopped modelling: the ring is full
        it wrote the invalid line "{\"known\":": EOF while parsing a value at line 1 column 9
        it wrote the invalid line "": EOF while parsing a value at line 1 column 0
        "#);
    }

    #[test]
    fn a_window_without_an_end_is_trusted_only_where_the_boot_ended_in_it() {
        let open = opened(16) + "\n" + &found(16, 1) + "\n";
        let mut listener = after(&trusted());
        listener.push(open.as_bytes());
        assert_eq!(listener.case_result(0, true).unwrap().distinct(), 1);
        // The guest died before it opened the window.
        assert_eq!(listener.case_result(1, true).unwrap().distinct(), 0);
        let mut listener = after(&trusted());
        listener.push(open.as_bytes());
        assert_eq!(
            listener.case_result(0, false),
            Err("it did not report the end of window 16".into())
        );
        // The oracle cannot be trusted in later cases either.
        listener.push((quiet(17) + "\n").as_bytes());
        listener.case_result(1, false).unwrap_err();
        let mut listener = after(&trusted());
        assert_eq!(listener.case_result(1, false), Err("the guest did not open window 17".into()));
    }
}
