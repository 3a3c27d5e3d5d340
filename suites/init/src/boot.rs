// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a bare root filesystem to one that cases can run in.

use sys::{Fd, MountFlags, OpenFlags};
use workloads::GROUPS;

/// Source, place and kind of every mount, in order.
const MOUNTS: [(&str, &str, &str); 6] = [
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("tmpfs", "/run", "tmpfs"),
    ("fusectl", "/sys/fs/fuse/connections", "fusectl"),
];

/// Mounts everything, and moves this process's standard descriptors to the console.
pub fn mount_all() -> Result<(), String> {
    for (source, place, kind) in MOUNTS {
        // sysfs has the place for fusectl, and nothing can be made in it.
        if !sys::is_there(place) {
            sys::make_dir(place).map_err(|error| error.to_string())?;
        }
        let mounted = sys::mount(source, place, kind, MountFlags::default(), "");
        match mounted {
            // The kernel may have mounted devtmpfs by itself.
            Err(error) if error.errno != sys::Errno::EBUSY => return Err(error.to_string()),
            _ => {}
        }
    }
    mount_groups()?;
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::NO_TERMINAL;
    let console = Fd::open("/dev/console", flags).map_err(|error| error.to_string())?;
    sys::replace_stdio(&[&console, &console, &console]).map_err(|error| error.to_string())
}

/// Control groups, with those for memory, where the kernel has them: few cases need them.
fn mount_groups() -> Result<(), String> {
    if !sys::is_there(GROUPS) {
        return Ok(());
    }
    sys::mount("cgroup2", GROUPS, "cgroup2", MountFlags::default(), "")
        .map_err(|error| error.to_string())?;
    let controllers = format!("{GROUPS}/cgroup.subtree_control");
    // Without memory cgroups there is nothing of the name.
    let _ = sys::write_file(&controllers, b"+memory");
    Ok(())
}

/// Settings that the cases rely on.
pub fn settle() -> Result<(), String> {
    let settings = [
        // Out-of-memory is a case's trouble and never PID 1's.
        ("/proc/self/oom_score_adj", "-1000"),
        // Without this the kernel drops all but ten lines in five seconds of what `announce` writes. It insists on the newline.
        ("/proc/sys/kernel/printk_devkmsg", "on\n"),
        // 4: from now on the kernel does not log each drop of its caches, of which every case has some.
        ("/proc/sys/vm/drop_caches", "4"),
    ];
    for (path, value) in settings {
        sys::write_file(path, value.as_bytes()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// One line to the kernel's log, so that a console log can be read without the records.
pub fn announce(line: &str) {
    // <14>: user, info. The line is a courtesy; nothing depends on it.
    let _ = sys::append_file("/dev/kmsg", format!("<14>init: {line}\n").as_bytes());
}

/// The kernel's log so far, a record a line: Documentation/ABI/testing/dev-kmsg.
pub fn kernel_log() -> String {
    let flags = OpenFlags::READ | OpenFlags::NONBLOCK;
    let mut text = Vec::new();
    if let Ok(log) = Fd::open("/dev/kmsg", flags) {
        let mut record = [0; 8192];
        // The end of the log is EAGAIN.
        while let Ok(length) = log.read(&mut record) {
            text.extend_from_slice(&record[..length]);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The value of `key=` on the kernel's command line.
pub fn parameter(key: &str) -> Option<String> {
    let cmdline = sys::read_text("/proc/cmdline").ok()?;
    parameter_in(&cmdline, key).map(str::to_owned)
}

fn parameter_in<'t>(cmdline: &'t str, key: &str) -> Option<&'t str> {
    cmdline
        .split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_among_others() {
        let cmdline = "console=ttyS0 dmmap.records.old=x dmmap.records=/dev/ttyS1 panic=-1\n";
        assert_eq!(parameter_in(cmdline, "dmmap.records"), Some("/dev/ttyS1"));
        assert_eq!(parameter_in(cmdline, "records"), None);
    }
}
