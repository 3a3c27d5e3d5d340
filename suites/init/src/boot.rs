// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prepares the root filesystem and the kernel settings for the cases.

use sys::{Fd, MountFlags, OpenFlags};
use workloads::GROUPS;

/// Source, mount point and filesystem type of every mount, in order.
const MOUNTS: [(&str, &str, &str); 5] = [
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("tmpfs", "/run", "tmpfs"),
];

/// Mount point of debugfs, if the kernel has it (Documentation/filesystems/debugfs.rst).
pub(crate) const DEBUG: &str = "/sys/kernel/debug";

/// Mounts all filesystems, loads the kernel's modules, and connects the standard descriptors of this process to the
/// console.
pub(crate) fn prepare() -> Result<(), String> {
    for (source, place, kind) in MOUNTS {
        if !sys::exists(place) {
            sys::make_dir(place).map_err(|error| error.to_string())?;
        }
        let mounted = sys::mount(source, place, kind, MountFlags::default(), "");
        match mounted {
            // The kernel may have mounted devtmpfs already.
            Err(error) if error.errno != sys::Errno::EBUSY => return Err(error.to_string()),
            _ => {}
        }
    }
    workloads::load_missing_modules().map_err(|error| error.to_string())?;
    mount_groups()?;
    if sys::exists(DEBUG) {
        sys::mount("debugfs", DEBUG, "debugfs", MountFlags::default(), "")
            .map_err(|error| error.to_string())?;
    }
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::NO_TERMINAL;
    let console = Fd::open("/dev/console", flags).map_err(|error| error.to_string())?;
    sys::replace_stdio(&[&console, &console, &console]).map_err(|error| error.to_string())
}

/// Mounts cgroup2 and enables the memory controller, if the kernel has them. Few cases need them.
fn mount_groups() -> Result<(), String> {
    if !sys::exists(GROUPS) {
        return Ok(());
    }
    sys::mount("cgroup2", GROUPS, "cgroup2", MountFlags::default(), "")
        .map_err(|error| error.to_string())?;
    let controllers = format!("{GROUPS}/cgroup.subtree_control");
    // Fails on a kernel without memory cgroups.
    let _ = sys::write_file(&controllers, b"+memory");
    Ok(())
}

/// Applies the kernel settings that the cases rely on.
pub(crate) fn apply_settings() -> Result<(), String> {
    let settings = [
        // The OOM killer must never choose PID 1.
        ("/proc/self/oom_score_adj", "-1000"),
        // By default the kernel accepts only ten lines in five seconds from `log_to_kernel`. The newline is required.
        ("/proc/sys/kernel/printk_devkmsg", "on\n"),
        // 4: do not log each drop of the caches. Every case drops them several times.
        ("/proc/sys/vm/drop_caches", "4"),
    ];
    for (path, value) in settings {
        sys::write_file(path, value.as_bytes()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Writes a line to the kernel log, so that the console log can be read without the records.
pub(crate) fn log_to_kernel(line: &str) {
    // <14>: facility user, level info. Errors are ignored because nothing depends on the line.
    let _ = sys::append_file("/dev/kmsg", format!("<14>init: {line}\n").as_bytes());
}

/// Returns the records of the kernel log. Each is `HEADER;TEXT`, followed by its continuation lines
/// (Documentation/ABI/testing/dev-kmsg).
pub(crate) fn kernel_log() -> sys::Result<Vec<String>> {
    let log = Fd::open("/dev/kmsg", OpenFlags::READ | OpenFlags::NONBLOCK)?;
    let mut records = Vec::new();
    let mut record = [0; 8192];
    // EAGAIN marks the end of the log.
    while let Ok(length) = log.read(&mut record) {
        records.push(String::from_utf8_lossy(&record[..length]).into_owned());
    }
    Ok(records)
}

/// Returns the value of `key=` on the kernel command line.
pub(crate) fn parameter(key: &str) -> Option<String> {
    let cmdline = sys::read_text("/proc/cmdline").ok()?;
    parameter_in(&cmdline, key).map(str::to_owned)
}

fn parameter_in<'t>(cmdline: &'t str, key: &str) -> Option<&'t str> {
    cmdline.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
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
