// SPDX-License-Identifier: MIT OR Apache-2.0
//! Forwards the output of a case's processes, line by line and up to a limit.

use protocol::record::Record;
use sys::Fd;

/// Maximum number of lines that are forwarded for one case.
const LINES_MAX: usize = 200;

/// Maximum number of bytes that are forwarded of one line. A frame holds 64 KiB, and JSON can encode a byte as six.
const LINE_LEN_MAX: usize = 2000;

/// Output of one case.
pub(crate) struct Logs {
    case: String,
    line: Vec<u8>,
    cut: usize,
    passed: usize,
    dropped: usize,
    /// Last line that is not empty.
    last: String,
}

impl Logs {
    pub(crate) fn new(case: &str) -> Logs {
        Logs {
            case: case.to_owned(),
            line: Vec::new(),
            cut: 0,
            passed: 0,
            dropped: 0,
            last: String::new(),
        }
    }

    /// Reads from the pipe once, and forwards complete lines.
    pub(crate) fn read(&mut self, pipe: &Fd, send: &mut dyn FnMut(Record)) {
        let mut piece = [0; 4096];
        let got = pipe.read(&mut piece).unwrap_or(0);
        self.push(&piece[..got], send);
    }

    fn push(&mut self, bytes: &[u8], send: &mut dyn FnMut(Record)) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(send),
                _ if self.line.len() < LINE_LEN_MAX => self.line.push(byte),
                _ => self.cut += 1,
            }
        }
    }

    fn end_line(&mut self, send: &mut dyn FnMut(Record)) {
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        let mut line = String::from_utf8_lossy(&line).into_owned();
        if !line.trim().is_empty() {
            self.last.clone_from(&line);
        }
        if self.passed == LINES_MAX {
            self.dropped += 1;
            return;
        }
        self.passed += 1;
        if cut > 0 {
            line += &format!(" ... {cut} more bytes");
        }
        self.send(line, send);
    }

    /// Ends the output: forwards an unfinished line, and reports the number of dropped lines.
    pub(crate) fn finish(&mut self, send: &mut dyn FnMut(Record)) {
        if !self.line.is_empty() {
            self.end_line(send);
        }
        if self.dropped > 0 {
            self.send(format!("... {} more lines", self.dropped), send);
        }
    }

    /// Returns the last line of the output that is not empty.
    pub(crate) fn last(&self) -> &str {
        self.last.trim()
    }

    /// Adds a line written by init.
    pub(crate) fn note(&self, line: &str, send: &mut dyn FnMut(Record)) {
        self.send(line.to_owned(), send);
    }

    fn send(&self, line: String, send: &mut dyn FnMut(Record)) {
        send(Record::Log { case: self.case.clone(), line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut send = |record| match record {
            Record::Log { line, .. } => lines.push(line),
            other => panic!("{other:?}"),
        };
        let mut logs = Logs::new("a/case");
        for piece in text.as_bytes().chunks(7) {
            logs.push(piece, &mut send);
        }
        logs.finish(&mut send);
        lines
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        assert_eq!(lines("one\n\ntwo and more\nno end"), ["one", "", "two and more", "no end"]);
    }

    #[test]
    fn the_last_line_is_kept_even_if_it_is_not_forwarded() {
        let last = |text: &str| {
            let mut logs = Logs::new("a/case");
            logs.push(text.as_bytes(), &mut |_| {});
            logs.finish(&mut |_| {});
            logs.last().to_owned()
        };
        assert_eq!(last(""), "");
        assert_eq!(last("one\nthe reason \n\n"), "the reason");
        assert_eq!(last(&("x\n".repeat(LINES_MAX + 3) + "the reason")), "the reason");
    }

    #[test]
    fn excess_output_is_cut_and_counted() {
        let many = lines(&"x\n".repeat(LINES_MAX + 3));
        assert_eq!(many.len(), LINES_MAX + 1);
        assert_eq!(many[LINES_MAX], "... 3 more lines");
        let long = lines(&"x".repeat(LINE_LEN_MAX + 5));
        assert!(long[0].ends_with("x ... 5 more bytes"));
    }
}
