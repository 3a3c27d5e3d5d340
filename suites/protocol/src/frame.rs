// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames: one record a line, numbered, with length and checksum.
//!
//! ```text
//! =dmmap= 7 61 1c291ca3 {"kind":"case-start","case":"smoke/boot"}
//! |       | |  |        payload: JSON, no newline inside
//! |       | |  CRC-32 (IEEE) of the payload, eight hex digits
//! |       | payload length in bytes
//! |       sequence number, from 0, one up each frame of a boot
//! marker
//! ```
//! Lines that do not start with the marker belong to somebody else and are handed back as [`Item::Noise`].

use crate::record::Record;

/// First word of every frame.
pub const MARKER: &str = "=dmmap=";

/// Longest line a decoder keeps before it calls it corrupt, in bytes.
pub const LINE_MAX: usize = 64 * 1024;

/// Writes records as frames.
#[derive(Debug, Default)]
pub struct Encoder {
    next: u64,
}

impl Encoder {
    /// The frame of `record`, newline included. Nothing in it looks like the time stamp that a line of the kernel's log
    /// begins with, `[    1.234567] `: such lines can be taken out of a frame that they fell into.
    pub fn encode(&mut self, record: &Record) -> String {
        let payload = serde_json::to_string(record).expect("a record is plain data");
        // A stamp has a space behind its bracket and JSON without blanks has none but in strings, where a bracket may as
        // well be written by number.
        let payload = payload.replace("[ ", "\\u005b ");
        let line = format!(
            "{MARKER} {} {} {:08x} {payload}\n",
            self.next,
            payload.len(),
            crc32fast::hash(payload.as_bytes())
        );
        self.next += 1;
        line
    }
}

/// What a decoder found in the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A record that arrived whole.
    Record(Record),
    /// A line that is no frame.
    Noise(String),
    /// A frame that did not arrive whole.
    Broken(FrameError),
}

/// Why a frame is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The line is no frame although it starts like one.
    #[error("malformed frame header in {0:?}")]
    Header(String),
    /// Fewer or more bytes than the header says.
    #[error("frame {seq} has {found} bytes of payload, its header says {said}")]
    Length {
        /// Sequence number in the header.
        seq: u64,
        /// Length in the header.
        said: usize,
        /// Length found.
        found: usize,
    },
    /// Payload and checksum disagree.
    #[error("frame {seq} has checksum {found:08x}, its header says {said:08x}")]
    Checksum {
        /// Sequence number in the header.
        seq: u64,
        /// CRC-32 in the header.
        said: u32,
        /// CRC-32 of the payload.
        found: u32,
    },
    /// One or more frames are missing.
    #[error("frame {found} arrived where frame {expected} was due")]
    Gap {
        /// Next number in order.
        expected: u64,
        /// Number that came.
        found: u64,
    },
    /// The payload is whole but is no record this host knows.
    #[error("frame {seq} holds no known record: {why}")]
    Payload {
        /// Sequence number in the header.
        seq: u64,
        /// The parser's words.
        why: String,
    },
    /// The stream ended inside a line.
    #[error("the stream ended inside a frame, after {0:?}")]
    Truncated(String),
    /// A line grew past [`LINE_MAX`].
    #[error("a line of more than {LINE_MAX} bytes")]
    TooLong,
}

/// Reads frames from a stream that arrives in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    expected: u64,
    overlong: bool,
}

impl Decoder {
    /// Takes the next bytes of the stream and returns what they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => items.extend(self.end_line()),
                b'\r' => {}
                _ if self.line.len() < LINE_MAX => self.line.push(byte),
                _ => self.overlong = true,
            }
        }
        items
    }

    /// The stream is over: whatever is unfinished is broken.
    pub fn finish(&mut self) -> Option<Item> {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        match rest.is_empty() {
            true => None,
            false if rest.starts_with(MARKER) || MARKER.starts_with(&rest) => {
                Some(Item::Broken(FrameError::Truncated(head(&rest))))
            }
            false => Some(Item::Noise(rest)),
        }
    }

    fn end_line(&mut self) -> Vec<Item> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if std::mem::take(&mut self.overlong) {
            return vec![Item::Broken(FrameError::TooLong)];
        }
        let Some(frame) = line.strip_prefix(MARKER) else {
            return if line.is_empty() {
                Vec::new()
            } else {
                vec![Item::Noise(line)]
            };
        };
        match parse(frame, &line) {
            Err(error) => vec![Item::Broken(error)],
            Ok((seq, record)) => {
                let expected = std::mem::replace(&mut self.expected, seq + 1);
                let mut items = Vec::new();
                if seq != expected {
                    items.push(Item::Broken(FrameError::Gap {
                        expected,
                        found: seq,
                    }));
                }
                items.push(Item::Record(record));
                items
            }
        }
    }
}

/// Whether `line` is a frame that arrived whole.
pub fn is_whole(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let parsed = line.strip_prefix(MARKER).map(|frame| parse(frame, &line));
    // A payload that nobody understands has arrived whole as well.
    matches!(parsed, Some(Ok(_) | Err(FrameError::Payload { .. })))
}

/// Checks what follows the marker: ` SEQ LEN CRC PAYLOAD`.
fn parse(frame: &str, line: &str) -> Result<(u64, Record), FrameError> {
    let header = || FrameError::Header(head(line));
    let mut words = frame.strip_prefix(' ').ok_or_else(header)?.splitn(4, ' ');
    let mut word = || words.next().ok_or_else(header);
    let seq: u64 = word()?.parse().map_err(|_| header())?;
    let said_len: usize = word()?.parse().map_err(|_| header())?;
    let said_crc = u32::from_str_radix(word()?, 16).map_err(|_| header())?;
    let payload = word()?;

    if payload.len() != said_len {
        return Err(FrameError::Length {
            seq,
            said: said_len,
            found: payload.len(),
        });
    }
    let crc = crc32fast::hash(payload.as_bytes());
    if crc != said_crc {
        return Err(FrameError::Checksum {
            seq,
            said: said_crc,
            found: crc,
        });
    }
    let record = serde_json::from_str(payload).map_err(|error| FrameError::Payload {
        seq,
        why: error.to_string(),
    })?;
    Ok((seq, record))
}

/// Enough of a broken line to recognise it by.
fn head(line: &str) -> String {
    line.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(case: &str) -> Record {
        Record::CaseStart { case: case.into() }
    }

    fn two_frames() -> String {
        let mut encoder = Encoder::default();
        encoder.encode(&start("smoke/boot")) + &encoder.encode(&Record::Goodbye)
    }

    #[test]
    fn frames_survive_being_cut_anywhere() {
        let stream = two_frames();
        for cut in 0..stream.len() {
            let mut decoder = Decoder::default();
            let mut items = decoder.push(&stream.as_bytes()[..cut]);
            items.extend(decoder.push(&stream.as_bytes()[cut..]));
            assert_eq!(
                items,
                [
                    Item::Record(start("smoke/boot")),
                    Item::Record(Record::Goodbye)
                ],
                "cut at byte {cut}"
            );
            assert_eq!(decoder.finish(), None);
        }
    }

    #[test]
    fn every_single_byte_flip_is_noticed() {
        let stream = two_frames();
        let whole = Decoder::default().push(stream.as_bytes());
        for at in 0..stream.len() {
            let mut bytes = stream.clone().into_bytes();
            bytes[at] ^= 0x04;
            let mut decoder = Decoder::default();
            let mut items = decoder.push(&bytes);
            items.extend(decoder.finish());
            assert_ne!(items, whole, "byte {at}");
        }
    }

    #[test]
    fn a_truncated_stream_is_not_a_record() {
        let stream = two_frames();
        for cut in 1..stream.len() {
            let mut decoder = Decoder::default();
            let items = decoder.push(&stream.as_bytes()[..cut]);
            let whole = items
                .iter()
                .filter(|item| matches!(item, Item::Record(_)))
                .count();
            let ends_at_line = stream.as_bytes()[cut - 1] == b'\n';
            assert_eq!(whole, stream[..cut].matches('\n').count(), "cut at {cut}");
            assert_eq!(decoder.finish().is_none(), ends_at_line, "cut at {cut}");
        }
    }

    #[test]
    fn a_lost_frame_is_a_gap() {
        let stream = two_frames();
        let second = stream.lines().nth(1).unwrap().to_owned() + "\n";
        assert_eq!(
            Decoder::default().push(second.as_bytes()),
            [
                Item::Broken(FrameError::Gap {
                    expected: 0,
                    found: 1
                }),
                Item::Record(Record::Goodbye)
            ]
        );
    }

    #[test]
    fn other_lines_are_handed_back() {
        let items = Decoder::default().push(b"[    0.1] hello\r\n\n");
        assert_eq!(items, [Item::Noise("[    0.1] hello".into())]);
    }
}
