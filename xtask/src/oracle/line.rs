// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lines that the plugin writes to [`ORACLE_FINDINGS`](crate::run_dir::ORACLE_FINDINGS), and recorded lines
//! for tests. `oracle/wire` defines the format.

pub(crate) use oracle_wire::message::{
    Access, By, End, Finding, FindingKind, Hello, Hex, Known, Message, Op,
};

/// Recorded lines, for tests.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const HELLO: &str = r#"{"hello":{"version":"0.1.0","api":4,"arch":"arm","cache":{"kind":"vipt","period":16384,"line":32,"write":"back"},"depth":"user"}}"#;
    pub(crate) const KNOWN: &str =
        r#"{"known":{"virtual":"0xb6ff1000","physical":"0x4c3f000","expected":"0x4c3f000"}}"#;

    /// Returns the lines of a window without findings.
    pub(crate) fn quiet(id: u32) -> String {
        format!("{}\n{}", opened(id), ended(id, 0))
    }

    pub(crate) fn opened(id: u32) -> String {
        format!(r#"{{"window":{{"id":{id}}}}}"#)
    }

    pub(crate) fn ended(id: u32, findings: u64) -> String {
        let repeats = match findings {
            0 => "[]".into(),
            findings => format!("[{findings}]"),
        };
        format!(
            r#"{{"end":{{"window":{id},"findings":{findings},"distinct":{},"repeats":{repeats},"accesses":12345}}}}"#,
            findings.min(1)
        )
    }

    /// Returns the line of a finding: a client loads in one colour what the server has just stored in another.
    pub(crate) fn found(window: u32, number: u32) -> String {
        let access = |at: u64, op: &str, by: &str, address: &str, colour: u64, symbol: &str| {
            format!(
                r#"{{"at":{at},"op":"{op}","by":"{by}","space":"0x5a4c000","virtual":"{address}","physical":"0x4c3f020","size":4,"colour":{colour},"pc":"0x10a34","symbol":{symbol}}}"#
            )
        };
        let zeroed = access(1201, "store", "kernel", "0xc4c3f020", 3, r#""clear_page+0x10""#);
        let flushed =
            access(1207, "flush", "kernel", "0xc4c3f020", 3, r#""v6_flush_kern_dcache_area+0x8""#);
        let earlier = access(1300, "store", "process", "0x40013020", 3, "null");
        let later = access(1302, "load", "process", "0x40012020", 2, "null");
        format!(
            r#"{{"finding":{{"window":{window},"number":{number},"kind":"dirty-elsewhere","line":"0x4c3f020","earlier":{earlier},"later":{later},"story":[{zeroed},{flushed},{earlier},{later}]}}}}"#
        )
    }

    /// Returns the finding in the line of [`found`].
    pub(crate) fn finding(window: u32, number: u32) -> Finding {
        match serde_json::from_str(&found(window, number)) {
            Ok(Message::Finding(finding)) => *finding,
            other => panic!("{other:?} is not a finding"),
        }
    }

    /// Returns a finding whose later access is by the kernel, in a copy with these `callers`, innermost first.
    pub(crate) fn finding_of_kernel(callers: &[&str]) -> Finding {
        let mut finding = finding(16, 1);
        let later = &mut finding.later;
        later.by = By::Kernel;
        later.symbol = Some("memcpy+0x40".into());
        later.culprit = Some("lo_read_simple".into());
        let frame = |symbol: &&str| oracle_wire::message::Frame {
            pc: Hex(0xc000_9000),
            symbol: Some((*symbol).into()),
        };
        later.callers = callers.iter().map(frame).collect();
        *finding.story.last_mut().unwrap() = finding.later.clone();
        finding
    }

    /// Returns the lines before the first case of a boot in which the oracle passes its checks.
    pub(crate) fn trusted() -> String {
        let planted = [opened(2), found(2, 1), ended(2, 17)].join("\n");
        let lines = [HELLO.into(), opened(0), KNOWN.into(), ended(0, 0), quiet(1), planted];
        lines.join("\n") + "\n"
    }

    #[test]
    fn a_message_survives_a_round_trip() {
        let text =
            format!("{}{}\n{{\"refused\":{{\"why\":\"no TTBR0\"}}}}", trusted(), found(16, 1));
        for line in text.lines() {
            let read: Message = serde_json::from_str(line).unwrap();
            let again: Message =
                serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
            assert_eq!(read, again);
        }
        let finding = finding(18, 2);
        assert_eq!((finding.window, finding.number), (18, 2));
        assert_eq!(finding.line, Hex(0x4c3f020));
        assert_eq!(finding.later, finding.story[3]);
    }

    #[test]
    fn accesses_are_in_order_with_the_earlier_one_included() {
        let mut finding = finding(18, 2);
        let at = |finding: &Finding| -> Vec<u64> {
            let accesses = finding.accesses();
            accesses.iter().map(|access| access.at).collect()
        };
        let before = at(&finding);
        assert!(before.is_sorted(), "{before:?}");
        let left_out = finding.story.remove(2);
        assert_eq!(left_out, finding.earlier);
        assert_eq!(at(&finding), before);
        finding.earlier.at = 1;
        assert_eq!(at(&finding)[0], 1);
    }

    #[test]
    fn an_invalid_line_is_rejected() {
        let wrong = [
            r#"{"hallo":{"version":"0.1.0"}}"#,
            r#"{"window":{"id":-1}}"#,
            r#"{"known":{"virtual":"b6ff1000","physical":null,"expected":"0x0"}}"#,
            r#"{"end":{"window":1,"findings":0}}"#,
        ];
        for line in wrong {
            serde_json::from_str::<Message>(line).unwrap_err();
        }
    }
}
