// SPDX-License-Identifier: MIT OR Apache-2.0
//! A console that carries the records as well: for machines that have no second port.
//!
//! The kernel writes its lines to the port whole, but wherever it happens to, also into the middle of a frame that a
//! process is writing:
//!
//! ```text
//! =dmmap= 7 61 1c291ca3 {"kind":"case[    2.314159] fuse: init (API version 7.41)
//! -start","case":"smoke/boot"}
//! ```
//! Its lines begin with a time stamp, and [frames hold none](protocol::frame::Encoder::encode), so they can be taken out
//! again. Length and checksum of the frame say whether that went right.

use std::sync::LazyLock;

use protocol::frame::{self, MARKER};
use regex::bytes::Regex;

/// `CONFIG_PRINTK_TIME`: kernel/printk/printk.c, print_time(). Five places for the seconds: a space comes first for
/// the two hours and three quarters that no guest lives to see.
static STAMP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\[ +[0-9]+\.[0-9]{6}\] ").expect("it is a regular expression"));

/// What came out of a shared console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Apart {
    /// What belongs to the records.
    pub records: Vec<u8>,
    /// What belongs to the console.
    pub console: Vec<u8>,
}

/// Takes the two streams apart again.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    line: Vec<u8>,
    /// A frame that a line of the kernel's cut short.
    begun: Option<Vec<u8>>,
}

impl Splitter {
    /// Takes the next bytes and returns what they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Apart {
        let mut apart = Apart::default();
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(&mut apart),
                b'\r' => {}
                byte => self.line.push(byte),
            }
        }
        apart
    }

    /// The stream is over.
    pub(crate) fn finish(&mut self) -> Apart {
        let mut apart = Apart::default();
        let line = std::mem::take(&mut self.line);
        match self.begun.take() {
            // Without its end of line: the decoder says that it is cut short.
            Some(frame) => apart.records.extend([frame, line].concat()),
            None if line.starts_with(MARKER.as_bytes()) => apart.records.extend(line),
            None => apart.console.extend(line),
        }
        apart
    }

    fn end_line(&mut self, apart: &mut Apart) {
        let line = std::mem::take(&mut self.line);
        let text = match self.begun.take() {
            Some(frame) => [frame, line].concat(),
            None => line,
        };
        let Some(start) = start_of_frame(&text) else {
            return keep(&mut apart.console, &text);
        };
        if start > 0 {
            keep(&mut apart.console, &text[..start]);
        }
        let text = &text[start..];
        match STAMP.find(text) {
            Some(stamp) if !frame::is_whole(text) => {
                keep(&mut apart.console, &text[stamp.start()..]);
                self.begun = Some(text[..stamp.start()].to_vec());
            }
            _ => keep(&mut apart.records, text),
        }
    }
}

/// Where a frame starts in `line`, whole or cut short by a line of the kernel's.
fn start_of_frame(line: &[u8]) -> Option<usize> {
    let marker = MARKER.as_bytes();
    let whole = line.windows(marker.len()).position(|part| part == marker);
    whole.or_else(|| {
        let before = &line[..STAMP.find(line)?.start()];
        let lengths = (1..marker.len()).rev();
        let cut = lengths.map(|length| &marker[..length]);
        let found = cut.into_iter().find(|cut| before.ends_with(cut))?;
        Some(before.len() - found.len())
    })
}

fn keep(stream: &mut Vec<u8>, line: &[u8]) {
    stream.extend_from_slice(line);
    stream.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::{Decoder, Encoder, Item};
    use protocol::record::Record;

    fn records() -> Vec<Record> {
        let log = |line: &str| Record::Log {
            case: "smoke/boot".into(),
            line: line.into(),
        };
        vec![
            Record::CaseStart {
                case: "smoke/boot".into(),
            },
            log("dmesg said: [    0.500000] fuse: init, =dmmap= and [1.5]"),
            Record::Alive,
        ]
    }

    fn frames() -> String {
        let mut encoder = Encoder::default();
        records()
            .iter()
            .map(|record| encoder.encode(record))
            .collect()
    }

    fn decoded(apart: &Apart) -> Vec<Item> {
        let mut decoder = Decoder::default();
        let mut items = decoder.push(&apart.records);
        items.extend(decoder.finish());
        items
    }

    fn split(text: &[u8]) -> Apart {
        let mut splitter = Splitter::default();
        let mut apart = splitter.push(text);
        let rest = splitter.finish();
        apart.records.extend(rest.records);
        apart.console.extend(rest.console);
        apart
    }

    fn all() -> Vec<Item> {
        records().into_iter().map(Item::Record).collect()
    }

    #[test]
    fn kernel_lines_come_out_of_any_place_of_any_frame() {
        let frames = frames();
        let kernel = [
            "[    2.314159] fuse: init (API version 7.41)\r\n",
            "[ 2345.000001] init: case 1/3 smoke/boot\r\n",
        ];
        for at in 0..=frames.len() {
            for lines in [&kernel[..1], &kernel[..]] {
                let mixed = [&frames[..at], &lines.concat(), &frames[at..]].concat();
                let apart = split(mixed.as_bytes());
                assert_eq!(decoded(&apart), all(), "cut at byte {at}: {mixed}");
                let console = String::from_utf8(apart.console).unwrap();
                assert_eq!(
                    console,
                    lines.concat().replace('\r', ""),
                    "cut at byte {at}"
                );
            }
        }
    }

    #[test]
    fn two_kernel_lines_in_two_places_of_a_frame() {
        let frames = frames();
        let mixed = [
            &frames[..12],
            "[    1.000000] one\r\n",
            &frames[12..40],
            "[    1.000001] two\r\n",
            &frames[40..],
        ]
        .concat();
        let apart = split(mixed.as_bytes());
        assert_eq!(decoded(&apart), all());
        let console = String::from_utf8(apart.console).unwrap();
        assert_eq!(console, "[    1.000000] one\n[    1.000001] two\n");
    }

    #[test]
    fn a_frame_follows_what_a_program_left_without_an_end() {
        let mixed = format!("login: {}", frames());
        let apart = split(mixed.as_bytes());
        assert_eq!(decoded(&apart), all());
        assert_eq!(apart.console, b"login: \n");
    }

    #[test]
    fn what_is_lost_is_not_made_up() {
        let frames = frames();
        // Two bytes fell out where the kernel's line came in.
        let mixed = [&frames[..30], "[    1.000000] one\r\n", &frames[32..]].concat();
        let items = decoded(&split(mixed.as_bytes()));
        assert!(matches!(items[0], Item::Broken(_)), "{items:?}");
        assert_eq!(items[items.len() - 1], all()[2]);
        // The machine stopped in the middle.
        let items = decoded(&split(&frames.as_bytes()[..frames.len() - 4]));
        assert!(matches!(items[2], Item::Broken(_)), "{items:?}");
    }
}
