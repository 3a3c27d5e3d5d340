// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the processes of a case print: lines, and not too many of them.

use protocol::record::Record;
use sys::Fd;

/// Lines of one case that are passed on.
const LINES: usize = 200;

/// Bytes of a line that are passed on. A frame holds 64 KiB, and a byte can become six in JSON.
const LINE: usize = 2000;

/// What one case has printed.
pub struct Logs {
    case: String,
    line: Vec<u8>,
    cut: usize,
    passed: usize,
    dropped: usize,
}

impl Logs {
    /// Nothing yet.
    pub fn new(case: &str) -> Logs {
        Logs {
            case: case.to_owned(),
            line: Vec::new(),
            cut: 0,
            passed: 0,
            dropped: 0,
        }
    }

    /// Reads what is in the pipe and passes on whole lines.
    pub fn read(&mut self, pipe: &Fd, send: &mut dyn FnMut(Record)) {
        let mut piece = [0; 4096];
        let got = pipe.read(&mut piece).unwrap_or(0);
        self.push(&piece[..got], send);
    }

    fn push(&mut self, bytes: &[u8], send: &mut dyn FnMut(Record)) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(send),
                _ if self.line.len() < LINE => self.line.push(byte),
                _ => self.cut += 1,
            }
        }
    }

    fn end_line(&mut self, send: &mut dyn FnMut(Record)) {
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        if self.passed == LINES {
            self.dropped += 1;
            return;
        }
        self.passed += 1;
        let mut line = String::from_utf8_lossy(&line).into_owned();
        if cut > 0 {
            line += &format!(" ... and {cut} more bytes");
        }
        self.send(line, send);
    }

    /// There is no more: passes on what has no line end, and says what was left out.
    pub fn finish(&mut self, send: &mut dyn FnMut(Record)) {
        if !self.line.is_empty() {
            self.end_line(send);
        }
        if self.dropped > 0 {
            self.send(format!("... and {} more lines", self.dropped), send);
        }
    }

    /// Adds a line of this program's own.
    pub fn note(&self, line: &str, send: &mut dyn FnMut(Record)) {
        self.send(line.to_owned(), send);
    }

    fn send(&self, line: String, send: &mut dyn FnMut(Record)) {
        send(Record::Log {
            case: self.case.clone(),
            line,
        });
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
        assert_eq!(
            lines("one\n\ntwo and more\nno end"),
            ["one", "", "two and more", "no end"]
        );
    }

    #[test]
    fn too_much_is_cut_and_says_so() {
        let many = lines(&"x\n".repeat(LINES + 3));
        assert_eq!(many.len(), LINES + 1);
        assert_eq!(many[LINES], "... and 3 more lines");
        let long = lines(&"x".repeat(LINE + 5));
        assert!(long[0].ends_with("x ... and 5 more bytes"));
    }
}
