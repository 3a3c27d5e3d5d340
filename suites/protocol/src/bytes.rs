// SPDX-License-Identifier: MIT OR Apache-2.0
//! Serialises the bytes inside a record as base64 (RFC 4648), the most compact form that JSON allows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use crate::record::{FILE_PART, Record};

    fn part(bytes: Vec<u8>) -> Record {
        Record::File { name: "dmmap.gcda".into(), size: 400, part: bytes }
    }

    #[test]
    fn every_byte_value_survives_a_round_trip() {
        let record = part((0..=255).collect());
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains(r#""part":"AAECAwQF"#), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        let damaged = text.replace("AAEC", "AA~C");
        serde_json::from_str::<Record>(&damaged).unwrap_err();
    }

    #[test]
    fn the_largest_part_fits_into_a_line() {
        let frame = crate::frame::Encoder::default().encode(&part(vec![255; FILE_PART]));
        assert!(frame.len() < crate::frame::LINE_MAX / 2, "{}", frame.len());
    }
}
