// SPDX-License-Identifier: MIT OR Apache-2.0
//! Separates the records from the console on machines whose only port carries both.
//!
//! The kernel writes each of its lines in one piece, but possibly in the middle of a frame that a process is writing:
//!
//! ```text
//! =dmmap= 7 61 1c291ca3 {"kind":"case[    2.314159] fuse: init (API version 7.41)
//! -start","case":"smoke/boot"}
//! ```
//! Kernel lines begin with a time stamp and [frames contain none](protocol::frame::Encoder::encode), so the kernel
//! lines can be cut out again. The length and the checksum of the frame show whether that succeeded.

use std::sync::LazyLock;

use protocol::frame::{self, MARKER};
use regex::bytes::Regex;

/// Time stamp of `CONFIG_PRINTK_TIME`, from print_time() in kernel/printk/printk.c. The seconds are padded to five
/// places, so a space comes first for the first 2.8 hours, longer than any guest runs.
static STAMP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\[ +[0-9]+\.[0-9]{6}\] ").expect("it is a regular expression"));

/// Bytes of a shared port, separated by stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SplitBytes {
    pub records: Vec<u8>,
    pub console: Vec<u8>,
}

/// Separates the two streams of a shared port.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    line: Vec<u8>,
    /// Beginning of a frame that a kernel line interrupted.
    interrupted_frame: Option<Vec<u8>>,
}

impl Splitter {
    /// Takes the next bytes and returns the lines that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> SplitBytes {
        let mut split = SplitBytes::default();
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(&mut split),
                b'\r' => {}
                byte => self.line.push(byte),
            }
        }
        split
    }

    /// Returns what is left at the end of the stream.
    pub(crate) fn finish(&mut self) -> SplitBytes {
        let mut split = SplitBytes::default();
        let line = std::mem::take(&mut self.line);
        match self.interrupted_frame.take() {
            // There is no line end, so the decoder reports the frame as truncated.
            Some(frame) => split.records.extend([frame, line].concat()),
            None if line.starts_with(MARKER.as_bytes()) => split.records.extend(line),
            None => split.console.extend(line),
        }
        split
    }

    fn end_line(&mut self, split: &mut SplitBytes) {
        let line = std::mem::take(&mut self.line);
        let text = match self.interrupted_frame.take() {
            Some(frame) => [frame, line].concat(),
            None => line,
        };
        let Some(start) = frame_start(&text) else {
            return push_line(&mut split.console, &text);
        };
        if start > 0 {
            push_line(&mut split.console, &text[..start]);
        }
        let text = &text[start..];
        match STAMP.find(text) {
            Some(stamp) if !frame::is_whole(text) => {
                push_line(&mut split.console, &text[stamp.start()..]);
                self.interrupted_frame = Some(text[..stamp.start()].to_vec());
            }
            _ => push_line(&mut split.records, text),
        }
    }
}

/// Returns the offset in `line` of a frame, complete or interrupted by a kernel line.
fn frame_start(line: &[u8]) -> Option<usize> {
    let marker = MARKER.as_bytes();
    line.windows(marker.len()).position(|part| part == marker).or_else(|| {
        let before = &line[..STAMP.find(line)?.start()];
        let mut prefixes = (1..marker.len()).rev().map(|length| &marker[..length]);
        let prefix = prefixes.find(|prefix| before.ends_with(prefix))?;
        Some(before.len() - prefix.len())
    })
}

fn push_line(stream: &mut Vec<u8>, line: &[u8]) {
    stream.extend_from_slice(line);
    stream.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::{Decoder, Encoder, Item};
    use protocol::record::Record;

    fn records() -> Vec<Record> {
        let log = |line: &str| Record::Log { case: "smoke/boot".into(), line: line.into() };
        vec![
            Record::CaseStart { case: "smoke/boot".into() },
            log("dmesg said: [    0.500000] fuse: init, =dmmap= and [1.5]"),
            Record::Alive,
        ]
    }

    fn frames() -> String {
        let mut encoder = Encoder::default();
        records().iter().map(|record| encoder.encode(record)).collect()
    }

    fn decoded(split: &SplitBytes) -> Vec<Item> {
        let mut decoder = Decoder::default();
        let mut items = decoder.push(&split.records);
        items.extend(decoder.finish());
        items
    }

    fn split(text: &[u8]) -> SplitBytes {
        let mut splitter = Splitter::default();
        let mut split = splitter.push(text);
        let rest = splitter.finish();
        split.records.extend(rest.records);
        split.console.extend(rest.console);
        split
    }

    fn all() -> Vec<Item> {
        records().into_iter().map(Item::Record).collect()
    }

    #[test]
    fn kernel_lines_are_cut_out_of_a_frame_at_any_byte() {
        let frames = frames();
        let kernel = [
            "[    2.314159] fuse: init (API version 7.41)\r\n",
            "[ 2345.000001] init: case 1/3 smoke/boot\r\n",
        ];
        for at in 0..=frames.len() {
            for lines in [&kernel[..1], &kernel[..]] {
                let mixed = [&frames[..at], &lines.concat(), &frames[at..]].concat();
                let split = split(mixed.as_bytes());
                assert_eq!(decoded(&split), all(), "cut at byte {at}: {mixed}");
                let console = String::from_utf8(split.console).unwrap();
                assert_eq!(console, lines.concat().replace('\r', ""), "cut at byte {at}");
            }
        }
    }

    #[test]
    fn two_kernel_lines_are_cut_out_of_one_frame() {
        let frames = frames();
        let mixed = [
            &frames[..12],
            "[    1.000000] one\r\n",
            &frames[12..40],
            "[    1.000001] two\r\n",
            &frames[40..],
        ]
        .concat();
        let split = split(mixed.as_bytes());
        assert_eq!(decoded(&split), all());
        let console = String::from_utf8(split.console).unwrap();
        assert_eq!(console, "[    1.000000] one\n[    1.000001] two\n");
    }

    #[test]
    fn a_frame_is_found_after_an_unfinished_line() {
        let mixed = format!("login: {}", frames());
        let split = split(mixed.as_bytes());
        assert_eq!(decoded(&split), all());
        assert_eq!(split.console, b"login: \n");
    }

    #[test]
    fn a_frame_with_lost_bytes_is_broken() {
        let frames = frames();
        // Two bytes were lost where the kernel's line came in.
        let mixed = [&frames[..30], "[    1.000000] one\r\n", &frames[32..]].concat();
        let items = decoded(&split(mixed.as_bytes()));
        assert!(matches!(items[0], Item::Broken(_)), "{items:?}");
        assert_eq!(items[items.len() - 1], all()[2]);
        // The machine stopped in the middle of a frame.
        let items = decoded(&split(&frames.as_bytes()[..frames.len() - 4]));
        assert!(matches!(items[2], Item::Broken(_)), "{items:?}");
    }
}
