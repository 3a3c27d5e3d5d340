// SPDX-License-Identifier: MIT OR Apache-2.0
//! Formatting of counts, sizes, times and text from the guest.

use std::time::Duration;

/// Formats a count of events: `once`, `2 times`.
pub(crate) fn times(count: u64) -> String {
    match count {
        1 => "once".into(),
        count => format!("{count} times"),
    }
}

/// Formats a count of cases: `1 case`, `2 cases`.
pub(crate) fn cases(count: usize) -> String {
    match count {
        1 => "1 case".into(),
        count => format!("{count} cases"),
    }
}

/// Formats a size in the largest unit that divides it: `4 MiB`, `16 KiB`, `32 bytes`, `1 byte`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".into(),
        bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// Formats a duration: `0.42 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Formats the seconds of a result like [`took`].
pub(crate) fn took_seconds(seconds: f64) -> String {
    took(duration(seconds))
}

/// Converts the seconds of a result to a duration. Returns zero if the number is negative, too large or not finite.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Formats the elapsed time of a run: `0:07`, `12:34`, `1:02:03`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Removes from a line of the guest all characters that would move the cursor, change colours or break a file format.
pub(crate) fn printable(line: &str) -> String {
    let line = console::strip_ansi_codes(line);
    let line = line.trim_end().replace('\t', "    ");
    // XML does not allow these two noncharacters.
    let allowed = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    line.chars().filter(allowed).collect()
}

/// Number of characters that reports show of a line of a log or of the console. The files of the boot have the whole line.
const LINE_SHOWN: usize = 200;

/// Makes a line of a log or of the console [`printable`], and cuts it if it is too long for a report.
pub(crate) fn shown(line: &str) -> String {
    let line = printable(line);
    let Some((end, _)) = line.char_indices().nth(LINE_SHOWN) else {
        return line;
    };
    let cut = line[end..].chars().count();
    format!("{} ... {cut} more characters", &line[..end])
}

/// Splits a text into lines, each [`printable`].
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(printable).collect()
}

/// Joins the lines of a text with semicolons.
pub(crate) fn one_line(text: &str) -> String {
    lines(text).join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_to_what_matters() {
        let times = [0.0, 0.424, 9.994, 12.34, 59.94, 65.0, 3599.0, 3720.0];
        let times = times.map(took_seconds).join(" | ");
        insta::assert_snapshot!(times, @"0.00 s | 0.42 s | 9.99 s | 12.3 s | 59.9 s | 1 min 05 s | 59 min 59 s | 1 h 02 min");
        assert_eq!(took_seconds(f64::NAN), "0.00 s");
        let clocks = [7, 754, 3723].map(|s| clock(Duration::from_secs(s)));
        assert_eq!(clocks, ["0:07", "12:34", "1:02:03"]);
    }

    #[test]
    fn bytes_have_the_largest_unit_that_fits() {
        let text = [4 << 20, 16 << 10, 4097, 32, 1].map(bytes).join(" | ");
        insta::assert_snapshot!(text, @"4 MiB | 16 KiB | 4097 bytes | 32 bytes | 1 byte");
    }

    #[test]
    fn a_long_line_is_cut() {
        assert_eq!(shown(&"ü".repeat(LINE_SHOWN)), "ü".repeat(LINE_SHOWN));
        let cut = shown(&("ü".repeat(LINE_SHOWN) + "\x1b[1mrest\n"));
        assert_eq!(cut, "ü".repeat(LINE_SHOWN) + " ... 4 more characters");
    }

    #[test]
    fn a_line_loses_its_control_characters_only() {
        assert_eq!(printable("\x1b[31mred\x1b[0m\tünï\x07\x00 x\r\n"), "red    ünï x");
    }
}
