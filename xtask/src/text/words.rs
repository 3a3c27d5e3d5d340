// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words: how numbers, times and foreign text look to a person.

use std::time::Duration;

/// `once`, `2 times`.
pub(crate) fn times(count: u64) -> String {
    match count {
        1 => "once".into(),
        count => format!("{count} times"),
    }
}

/// `1 case`, `2 cases`.
pub(crate) fn cases(count: usize) -> String {
    match count {
        1 => "1 case".into(),
        count => format!("{count} cases"),
    }
}

/// A round number of bytes: `4 MiB`, `16 KiB`, `32 bytes`, `1 byte`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".into(),
        bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// How long something took: `0.42 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// [`took`] for seconds of a result.
pub(crate) fn took_seconds(seconds: f64) -> String {
    took(duration(seconds))
}

/// Seconds of a result; what is no time is none.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A running clock: `0:07`, `12:34`, `1:02:03`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A guest's line without what would move the cursor, change colours or break a file format.
pub(crate) fn printable(line: &str) -> String {
    let line = console::strip_ansi_codes(line);
    let line = line.trim_end().replace('\t', "    ");
    // The two that are no characters are not allowed in XML.
    let fine = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    line.chars().filter(fine).collect()
}

/// The lines of a text, each [`printable`].
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(printable).collect()
}

/// A text on one line.
pub(crate) fn one_line(text: &str) -> String {
    lines(text).join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_as_many_digits_as_matter() {
        let times = [0.0, 0.424, 9.994, 12.34, 59.94, 65.0, 3599.0, 3720.0];
        let times = times.map(took_seconds).join(" | ");
        insta::assert_snapshot!(times, @"0.00 s | 0.42 s | 9.99 s | 12.3 s | 59.9 s | 1 min 05 s | 59 min 59 s | 1 h 02 min");
        assert_eq!(took_seconds(f64::NAN), "0.00 s");
        let clocks = [7, 754, 3723].map(|s| clock(Duration::from_secs(s)));
        assert_eq!(clocks, ["0:07", "12:34", "1:02:03"]);
    }

    #[test]
    fn bytes_have_the_largest_unit_that_fits() {
        let said = [4 << 20, 16 << 10, 4097, 32, 1].map(bytes).join(" | ");
        insta::assert_snapshot!(said, @"4 MiB | 16 KiB | 4097 bytes | 32 bytes | 1 byte");
    }

    #[test]
    fn a_line_loses_its_control_characters_only() {
        assert_eq!(
            printable("\x1b[31mred\x1b[0m\tünï\x07\x00 x\r\n"),
            "red    ünï x"
        );
    }
}
