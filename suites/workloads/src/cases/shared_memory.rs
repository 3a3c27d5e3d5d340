// SPDX-License-Identifier: MIT OR Apache-2.0
//! Direct-mapped pages work as shared memory.

pub(crate) mod advice;
pub(crate) mod buffers;
pub(crate) mod fixed;
pub(crate) mod moves;
pub(crate) mod processes;

use server::Behaviour;
use sys::{Errno, page_size, read_text};

use crate::stage::command::Map;
use crate::stage::{Case, Client, Failure, Process, Server, expect, pattern};

/// A server and a client that map the same pages, from byte `offset` of the file.
struct Pair {
    server: Server,
    /// The server's mapping.
    server_map: Map,
    client: Client,
    /// The client's mapping.
    client_map: Map,
    /// Length of both mappings in bytes.
    len: usize,
}

impl Pair {
    /// Starts a server and a client, and maps `pages` pages in both.
    fn new(case: &mut Case, offset: u64, pages: usize) -> Result<Pair, Failure> {
        let len = pages * page_size();
        let (mut server, mut client) = case.serve_with_client(Behaviour::default())?;
        let client_map = client.map(offset, len)?;
        let server_map = server.map_pages(server.page_id(offset)?, pages)?;
        Ok(Pair { server, server_map, client, client_map, len })
    }

    /// Fails unless each side loads what the other stores, in all pages.
    fn expect_shared(&mut self, seed: u64) -> Result<(), Failure> {
        self.client.fill(self.client_map, 0, self.len, seed)?;
        self.server.verify(self.server_map, 0, self.len, seed)?;
        self.server.fill(self.server_map, 0, self.len, seed + 1)?;
        self.client.verify(self.client_map, 0, self.len, seed + 1)
    }

    /// Ends both processes. Fails unless the client's exit sends the only FUSE_MUNMAPs, one for each of its `mmaps`
    /// FUSE_MMAPs.
    fn quit(mut self, mmaps: u64) -> Result<(), Failure> {
        expect("FUSE_MUNMAPs before the client exits", self.server.log()?.munmaps, 0)?;
        self.client.quit()?;
        expect("FUSE_MMAPs", self.server.await_munmaps(mmaps)?.mmaps, mmaps)?;
        self.server.quit()
    }
}

/// Returns the flags of a mapping in the line `VmFlags:` of `/proc/PID/smaps` (Documentation/filesystems/proc.rst).
fn vm_flags(process: &mut impl Process, map: Map) -> Result<Vec<String>, Failure> {
    let start = process.area(map)?.start;
    let text = read_text(&format!("/proc/{}/smaps", process.pid()))?;
    vm_flags_in(&text, start).ok_or_else(|| {
        Failure::new(format!("/proc/PID/smaps shows no VmFlags of the mapping at {start:#x}"))
    })
}

/// Finds the `VmFlags:` of the mapping that starts at `start`. The text has a line with the address range of each
/// mapping, followed by lines `Key: value`.
fn vm_flags_in(smaps: &str, start: u64) -> Option<Vec<String>> {
    let starts_there = |line: &str| {
        let number = line.split('-').next();
        number.and_then(|number| u64::from_str_radix(number, 16).ok()) == Some(start)
    };
    let mut lines = smaps.lines().skip_while(|line| !starts_there(line));
    let flags = lines.find_map(|line| line.strip_prefix("VmFlags:"))?;
    Some(flags.split_whitespace().map(str::to_owned).collect())
}

/// Returns the expected result of a call with an address one page off the right colour: EINVAL, or success if the cache
/// does not alias, because every address then has the right colour.
fn expected_at_wrong_colour(period: u64) -> Result<(), Errno> {
    if period > page_size() as u64 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Fails unless `found` is the pattern of `seed` from byte `at` on. `what` names the bytes.
fn expect_pattern(what: &str, found: &[u8], at: usize, seed: u64) -> Result<(), Failure> {
    match pattern::difference(at, found, &pattern::bytes(seed, at, found.len())) {
        None => Ok(()),
        Some(difference) => Err(Failure::new(format!("{what}: {difference}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_of_the_mapping() {
        let text = "b6f00000-b6f01000 r--p 00000000 00:01 2 /init\nSize: 4 kB\nVmFlags: rd mr\n\
                    b6f01000-b6f03000 rw-s 00000000 00:1f 2 /mnt/file\nSize: 8 kB\nVmFlags: rd wr sh dd \n";
        assert_eq!(vm_flags_in(text, 0xb6f0_1000).unwrap(), ["rd", "wr", "sh", "dd"]);
        assert_eq!(vm_flags_in(text, 0xb6f0_2000), None);
    }
}
