// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends the names and the addresses of the kernel's functions, for a host that has no `System.map`.

use protocol::kallsyms;
use protocol::record::Record;

use crate::coverage::send_bytes;

/// Sends the functions and the global variables of the kernel, without those of modules. Sends an empty file if the
/// kernel has no `/proc/kallsyms`.
pub(crate) fn send(send: &mut dyn FnMut(Record)) {
    let all = sys::read_text("/proc/kallsyms").unwrap_or_default();
    send_bytes(selected(&all).as_bytes(), kallsyms::FILE, send);
}

/// Returns the lines of `/proc/kallsyms` to send. Names of local variables would more than double the time of sending.
fn selected(all: &str) -> String {
    let lines = all.lines().filter(|line| {
        let kind = line.split(' ').nth(1).unwrap_or_default();
        let is_wanted = matches!(kind, "t" | "w") || kind.starts_with(|c: char| c.is_uppercase());
        is_wanted && !line.contains('[')
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_global_variables_are_sent() {
        let all = "c0008000 T _text\nc0010000 t memcpy\nc0020000 d local\nc0030000 D init_task\n\
                   bf000000 t fuse_copy_one\t[fuse]\nc0040000 B _end\n";
        assert_eq!(
            selected(all),
            "c0008000 T _text\nc0010000 t memcpy\nc0030000 D init_task\nc0040000 B _end\n"
        );
    }
}
