// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends the coverage counts of a kernel with CONFIG_GCOV_KERNEL to the host (Documentation/dev-tools/gcov.rst).

use protocol::record::{FILE_PART, Record};
use sys::list_dir;

use crate::boot::DEBUG;

/// Sends every coverage file. A kernel without gcov has none.
pub(crate) fn send(send: &mut dyn FnMut(Record)) {
    send_below(&format!("{DEBUG}/gcov"), send);
}

/// Sends the coverage files in `dir` and its subdirectories, which are named like those of the kernel's build.
fn send_below(dir: &str, send: &mut dyn FnMut(Record)) {
    // list_dir fails for a file, which then counts as an empty directory.
    for name in list_dir(dir).unwrap_or_default() {
        let path = format!("{dir}/{name}");
        match name.ends_with(".gcda") {
            true => send_file(&path, &name, send),
            false => send_below(&path, send),
        }
    }
}

/// Sends the file at `path` as `name`, in parts.
pub(crate) fn send_file(path: &str, name: &str, send: &mut dyn FnMut(Record)) {
    let bytes = match sys::read_file(path) {
        Ok(bytes) => bytes,
        // The host reports the missing file.
        Err(error) => return crate::boot::log_to_kernel(&error.to_string()),
    };
    send_bytes(&bytes, name, send);
}

/// Sends `bytes` as the file `name`, in parts. An empty file has one empty part.
pub(crate) fn send_bytes(bytes: &[u8], name: &str, send: &mut dyn FnMut(Record)) {
    let empty = bytes.is_empty().then_some(&[][..]);
    for part in bytes.chunks(FILE_PART).chain(empty) {
        send(Record::File { name: name.to_owned(), size: bytes.len(), part: part.to_vec() });
    }
}
