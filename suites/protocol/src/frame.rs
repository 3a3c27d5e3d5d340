// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames: one record per line, with a sequence number, a length and a checksum.
//!
//! ```text
//! =dmmap= 7 61 1c291ca3 {"kind":"case-start","case":"smoke/boot"}
//! |       | |  |        payload: JSON, no newline inside
//! |       | |  CRC-32 (IEEE) of the payload, eight hex digits
//! |       | payload length in bytes
//! |       sequence number, counting from 0 in each boot
//! marker
//! ```
//! Lines without the marker do not belong to this protocol; the decoder returns them as [`Item::Noise`].

use crate::record::Record;

/// First word of every frame.
pub const MARKER: &str = "=dmmap=";

/// Longest line in bytes that a decoder accepts. It reports a longer line as [`FrameError::TooLong`].
pub const LINE_MAX: usize = 64 * 1024;

/// Turns records into frames and numbers them.
#[derive(Debug, Default)]
pub struct Encoder {
    next: u64,
}

impl Encoder {
    /// Returns the frame of `record`, including its newline.
    ///
    /// The frame contains no text that looks like the time stamp of a kernel log line, `[    1.234567] `. A reader can
    /// therefore remove a kernel log line that was printed in the middle of a frame.
    pub fn encode(&mut self, record: &Record) -> String {
        let payload = serde_json::to_string(record).expect("a record is plain data");
        // A time stamp has a space after its opening bracket. Compact JSON has a space only inside strings, where the
        // bracket can be escaped.
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

/// Item that a decoder found in the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A record from an intact frame.
    Record(Record),
    /// A line that is not a frame.
    Noise(String),
    /// A damaged or missing frame.
    Broken(FrameError),
}

/// Defect of the stream that a decoder reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The line starts with the marker but has no valid header. Holds the start of the line.
    #[error("malformed frame header in {0:?}")]
    Header(String),
    /// The payload is shorter or longer than the header declares.
    #[error("frame {seq} has {found} bytes of payload, but its header declares {declared}")]
    Length {
        /// Sequence number in the header.
        seq: u64,
        /// Length in the header, in bytes.
        declared: usize,
        /// Length of the payload, in bytes.
        found: usize,
    },
    /// The checksum of the payload differs from the header's.
    #[error("frame {seq} has checksum {found:08x}, but its header declares {declared:08x}")]
    Checksum {
        /// Sequence number in the header.
        seq: u64,
        /// CRC-32 in the header.
        declared: u32,
        /// CRC-32 of the payload.
        found: u32,
    },
    /// One or more frames are missing.
    #[error("expected frame {expected}, but frame {found} arrived")]
    Gap {
        /// Sequence number that follows the previous frame's.
        expected: u64,
        /// Sequence number of the frame that arrived.
        found: u64,
    },
    /// The payload is intact but is not a record that this host knows.
    #[error("frame {seq} does not contain a known record: {error}")]
    Payload {
        /// Sequence number in the header.
        seq: u64,
        /// Message of the JSON parser.
        error: String,
    },
    /// The stream ended inside a frame. Holds the start of the frame.
    #[error("the stream ended inside a frame, after {0:?}")]
    Truncated(String),
    /// A line exceeds [`LINE_MAX`].
    #[error("a line is longer than {LINE_MAX} bytes")]
    TooLong,
}

/// Extracts frames from a stream that arrives in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    expected: u64,
    overlong: bool,
}

impl Decoder {
    /// Adds the next bytes of the stream and returns the items that they complete.
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

    /// Ends the stream. An unfinished frame is returned as [`FrameError::Truncated`].
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
            return if line.is_empty() { Vec::new() } else { vec![Item::Noise(line)] };
        };
        match parse(frame, &line) {
            Err(error) => vec![Item::Broken(error)],
            Ok((seq, record)) => {
                let expected = std::mem::replace(&mut self.expected, seq + 1);
                let mut items = Vec::new();
                if seq != expected {
                    items.push(Item::Broken(FrameError::Gap { expected, found: seq }));
                }
                items.push(Item::Record(record));
                items
            }
        }
    }
}

/// Returns true if `line` is an intact frame.
pub fn is_whole(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let parsed = line.strip_prefix(MARKER).map(|frame| parse(frame, &line));
    // An unknown payload can be intact.
    matches!(parsed, Some(Ok(_) | Err(FrameError::Payload { .. })))
}

/// Checks and decodes the text after the marker: ` SEQ LEN CRC PAYLOAD`.
fn parse(frame: &str, line: &str) -> Result<(u64, Record), FrameError> {
    let header = || FrameError::Header(head(line));
    let mut words = frame.strip_prefix(' ').ok_or_else(header)?.splitn(4, ' ');
    let mut word = || words.next().ok_or_else(header);
    let seq: u64 = word()?.parse().map_err(|_| header())?;
    let declared_len: usize = word()?.parse().map_err(|_| header())?;
    let declared_crc = u32::from_str_radix(word()?, 16).map_err(|_| header())?;
    let payload = word()?;

    if payload.len() != declared_len {
        return Err(FrameError::Length { seq, declared: declared_len, found: payload.len() });
    }
    let crc = crc32fast::hash(payload.as_bytes());
    if crc != declared_crc {
        return Err(FrameError::Checksum { seq, declared: declared_crc, found: crc });
    }
    let record = serde_json::from_str(payload)
        .map_err(|error| FrameError::Payload { seq, error: error.to_string() })?;
    Ok((seq, record))
}

/// Start of a broken line, enough to recognise it in an error message.
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
    fn frames_may_arrive_in_pieces() {
        let stream = two_frames();
        for cut in 0..stream.len() {
            let mut decoder = Decoder::default();
            let mut items = decoder.push(&stream.as_bytes()[..cut]);
            items.extend(decoder.push(&stream.as_bytes()[cut..]));
            assert_eq!(
                items,
                [Item::Record(start("smoke/boot")), Item::Record(Record::Goodbye)],
                "cut at byte {cut}"
            );
            assert_eq!(decoder.finish(), None);
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_in_every_byte() {
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
            let whole = items.iter().filter(|item| matches!(item, Item::Record(_))).count();
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
                Item::Broken(FrameError::Gap { expected: 0, found: 1 }),
                Item::Record(Record::Goodbye)
            ]
        );
    }

    #[test]
    fn other_lines_are_returned_as_noise() {
        let items = Decoder::default().push(b"[    0.1] hello\r\n\n");
        assert_eq!(items, [Item::Noise("[    0.1] hello".into())]);
    }
}
