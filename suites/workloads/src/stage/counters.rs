// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's counters and limits of direct-mapped pages.

use sys::read_text;

use crate::stage::failure::Failure;

/// Number of direct-mapped pages of all connections.
pub const PAGES_TOTAL: &str = "/sys/module/fuse/parameters/dmmap_pages";

/// Limit of pages per connection.
pub const LIMIT_PER_CONNECTION: &str = "/sys/module/fuse/parameters/dmmap_max_pages_conn";

/// Limit of pages of all connections. It is 0 until the first page is allocated; the kernel then chooses a limit.
pub const LIMIT_TOTAL: &str = "/sys/module/fuse/parameters/dmmap_max_pages_total";

/// Limit of mappings per connection.
pub const LIMIT_MAPS: &str = "/sys/module/fuse/parameters/dmmap_max_maps_conn";

/// Mount point of the filesystem with a directory for each FUSE connection.
pub const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// Returns the number in a file.
pub(crate) fn read(path: &str) -> Result<u64, Failure> {
    let text = read_text(path)?;
    text.trim().parse().map_err(|error| Failure::new(format!("{path} contains {text:?}: {error}")))
}

/// Sets a limit. `init` restores it after the case.
pub(crate) fn set(path: &str, value: u64) -> Result<(), Failure> {
    Ok(sys::write_file(path, value.to_string().as_bytes())?)
}

/// Returns the directory of the counters of the connection that is mounted at `place`.
pub(crate) fn dir_of_mount(place: &str) -> Result<String, Failure> {
    let text = read_text("/proc/self/mountinfo")?;
    let device = device_of_mount(&text, place)
        .ok_or_else(|| Failure::new(format!("/proc/self/mountinfo does not show {place}")))?;
    Ok(format!("{CONNECTIONS}/{device}"))
}

/// Returns the minor device number of the mount, which is the number of the connection. A line is
/// `ID PARENT MAJOR:MINOR ROOT PLACE ...`.
fn device_of_mount(mountinfo: &str, place: &str) -> Option<u32> {
    let line = mountinfo.lines().find(|line| line.split(' ').nth(4) == Some(place))?;
    let (_, minor) = line.split(' ').nth(2)?.split_once(':')?;
    minor.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_of_a_mount_is_found() {
        let text = "21 1 0:20 / /proc rw - proc proc rw\n\
                    30 1 0:37 / /run/dmmap/0 rw,nosuid,nodev - fuse dmmap rw,user_id=0\n";
        assert_eq!(device_of_mount(text, "/run/dmmap/0"), Some(37));
        assert_eq!(device_of_mount(text, "/run"), None);
    }
}
