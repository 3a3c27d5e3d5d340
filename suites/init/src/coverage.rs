// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a kernel with CONFIG_GCOV_KERNEL has counted of itself (Documentation/dev-tools/gcov.rst), for the host.

use protocol::record::{FILE_PART, Record};
use sys::{MountFlags, is_there, list_dir};

/// Where debugfs belongs (Documentation/filesystems/debugfs.rst).
const DEBUG: &str = "/sys/kernel/debug";

/// Sends each file of counts. A kernel that does not count has none.
pub fn send(send: &mut dyn FnMut(Record)) {
    let mounted = is_there(DEBUG)
        && sys::mount("debugfs", DEBUG, "debugfs", MountFlags::default(), "").is_ok();
    if mounted {
        send_below(&format!("{DEBUG}/gcov"), send);
        let _ = sys::unmount(DEBUG);
    }
}

/// The files lie in directories named as those where the kernel was built.
fn send_below(dir: &str, send: &mut dyn FnMut(Record)) {
    // What is no directory has no names in it.
    for name in list_dir(dir).unwrap_or_default() {
        let path = format!("{dir}/{name}");
        match name.ends_with(".gcda") {
            true => send_file(&path, &name, send),
            false => send_below(&path, send),
        }
    }
}

fn send_file(path: &str, name: &str, send: &mut dyn FnMut(Record)) {
    let bytes = match sys::read_file(path) {
        Ok(bytes) => bytes,
        // The host misses it and says so.
        Err(error) => return crate::boot::announce(&error.to_string()),
    };
    for part in bytes.chunks(FILE_PART) {
        send(Record::File {
            name: name.to_owned(),
            size: bytes.len(),
            part: part.to_vec(),
        });
    }
}
