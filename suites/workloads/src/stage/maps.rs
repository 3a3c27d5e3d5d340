// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mappings of one process, and what a case can have done with them. Servers and clients have the same.

use std::collections::BTreeMap;

use sys::{Fd, Instant, Mapping, OpenFlags, Prot, page_size, read_text};

use crate::stage::command::{Answer, Area, Map, MapRequest, MemoryCommand, Touched, access};
use crate::stage::{memory_call, pattern, role};

/// The mappings of one process by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    maps: BTreeMap<Map, Mapping>,
    next: u32,
}

impl Maps {
    fn keep(&mut self, mapping: Mapping) -> Map {
        let map = Map(self.next);
        self.next += 1;
        self.maps.insert(map, mapping);
        map
    }

    /// Maps `fd`.
    pub(crate) fn map(&mut self, fd: &Fd, request: &MapRequest) -> Answer {
        let mapping = Mapping::of(
            fd,
            request.offset,
            request.len,
            request.prot(),
            request.sharing(),
        );
        Answer::of(mapping, |mapping| Answer::Map(self.keep(mapping)))
    }

    /// Maps `fd` twice: two neighbours, in memory and in the file.
    pub(crate) fn map_adjacent(&mut self, fd: &Fd, request: &MapRequest) -> Answer {
        let pair = || -> sys::Result<(Mapping, Mapping)> {
            let place = Mapping::anonymous(2 * request.len, Prot::None)?;
            let (first, second) = place.split(request.len);
            let (prot, sharing) = (request.prot(), request.sharing());
            let behind = request.offset + request.len as u64;
            Ok((
                first.replace(fd, request.offset, prot, sharing)?,
                second.replace(fd, behind, prot, sharing)?,
            ))
        };
        Answer::of(pair(), |(first, second)| {
            Answer::Maps(self.keep(first), self.keep(second))
        })
    }

    /// Maps `fd` at an address that is `residue` modulo `period`.
    pub(crate) fn map_at(
        &mut self,
        fd: &Fd,
        request: &MapRequest,
        residue: u64,
        period: u64,
    ) -> Answer {
        let mapping = Mapping::room_at(request.len, residue, period)
            .and_then(|room| room.replace(fd, request.offset, request.prot(), request.sharing()));
        Answer::of(mapping, |mapping| Answer::Map(self.keep(mapping)))
    }

    /// Maps `fd` in the place of a mapping, which is as long.
    pub(crate) fn map_over(&mut self, fd: &Fd, map: Map, request: &MapRequest) -> Answer {
        let Some(mapping) = self.maps.remove(&map) else {
            return Answer::Failed(format!("there is no mapping {}", map.0));
        };
        let mapping = mapping.replace(fd, request.offset, request.prot(), request.sharing());
        Answer::of(mapping, |mapping| Answer::Map(self.keep(mapping)))
    }

    /// The mapping with a number.
    pub(crate) fn get(&self, map: Map) -> Result<&Mapping, Answer> {
        let none = || Answer::Failed(format!("there is no mapping {}", map.0));
        self.maps.get(&map).ok_or_else(none)
    }

    /// Does something with a mapping.
    pub(crate) fn act(&mut self, map: Map, command: MemoryCommand) -> Answer {
        let Some(mapping) = self.maps.get_mut(&map) else {
            return Answer::Failed(format!("there is no mapping {}", map.0));
        };
        match command {
            MemoryCommand::Call(call) => memory_call::make(mapping, call),
            MemoryCommand::Load { at } => Answer::Number(mapping.load(at)),
            MemoryCommand::Store { at, value } => {
                mapping.store(at, value);
                Answer::Done
            }
            MemoryCommand::Fill { at, len, seed } => {
                mapping.copy_in(at, &pattern::bytes(seed, at, len));
                Answer::Done
            }
            MemoryCommand::Verify { at, len, seed } => {
                verify(mapping, at, &pattern::bytes(seed, at, len))
            }
            MemoryCommand::VerifyZero { at, len } => verify(mapping, at, &vec![0; len]),
            MemoryCommand::TimeTouches => {
                let start = Instant::now();
                for at in (0..mapping.len()).step_by(page_size()) {
                    mapping.load::<u64>(at);
                }
                Answer::Number(start.elapsed().as_nanos() as u64)
            }
            MemoryCommand::Probe { at } => Answer::Touched(match mapping.probe(at) {
                Ok(_) => Touched::Well,
                Err(_) => Touched::Fault,
            }),
            MemoryCommand::Touch { at, store } => {
                let ended = mapping.touch(at, access(store));
                Answer::of(ended, |ended| Answer::Touched(ended.into()))
            }
            MemoryCommand::Frame { at } => frame(mapping.address() + at as u64),
            MemoryCommand::Area => match area(mapping.address()) {
                Ok(Some(area)) => Answer::Area(area),
                Ok(None) => Answer::Failed("/proc/self/maps does not show the mapping".into()),
                Err(error) => error.into(),
            },
            MemoryCommand::Play(role) => match role::play(&role, mapping) {
                Ok(figures) => Answer::Figures(figures),
                Err(why) => Answer::Failed(why),
            },
            MemoryCommand::ProtectReadonly => {
                Answer::of(mapping.protect(Prot::Read), |()| Answer::Done)
            }
            MemoryCommand::Cut { at } => self.cut(map, at),
            MemoryCommand::Punch { at, len } => self.punch(map, at, len),
            MemoryCommand::Unmap => {
                let mapping = self.maps.remove(&map);
                Answer::of(mapping.map_or(Ok(()), Mapping::unmap), |()| Answer::Done)
            }
        }
    }

    fn cut(&mut self, map: Map, at: usize) -> Answer {
        let Some(mapping) = self.maps.remove(&map) else {
            return Answer::Failed(format!("there is no mapping {}", map.0));
        };
        let (head, tail) = mapping.split(at);
        self.maps.insert(map, head);
        Answer::Map(self.keep(tail))
    }

    fn punch(&mut self, map: Map, at: usize, len: usize) -> Answer {
        let Some(mapping) = self.maps.remove(&map) else {
            return Answer::Failed(format!("there is no mapping {}", map.0));
        };
        Answer::of(mapping.punch(at, len), |(head, tail)| {
            self.maps.insert(map, head);
            Answer::Map(self.keep(tail))
        })
    }
}

fn verify(mapping: &Mapping, at: usize, expected: &[u8]) -> Answer {
    let mut found = vec![0; expected.len()];
    mapping.copy_out(at, &mut found);
    Answer::checked(match pattern::difference(at, &found, expected) {
        None => Ok(()),
        Some(difference) => Err(difference),
    })
}

/// The page frame number behind an address of this process: bits 0 to 54 of its entry in `/proc/self/pagemap`, valid
/// where bit 63 is set (Documentation/admin-guide/mm/pagemap.rst).
fn frame(address: u64) -> Answer {
    let entry = || -> sys::Result<u64> {
        let mut entry = [0; 8];
        let pagemap = Fd::open("/proc/self/pagemap", OpenFlags::READ)?;
        pagemap.read_at(&mut entry, address / page_size() as u64 * 8)?;
        Ok(match sys::big_endian() {
            true => u64::from_be_bytes(entry),
            false => u64::from_le_bytes(entry),
        })
    };
    match entry() {
        Err(error) => Answer::from(error),
        Ok(entry) if entry >> 63 == 0 => {
            Answer::Failed(format!("no page is present at {address:#x}"))
        }
        Ok(entry) => Answer::Number(entry & ((1 << 55) - 1)),
    }
}

/// The line of `/proc/self/maps` that has `address` in it.
fn area(address: u64) -> sys::Result<Option<Area>> {
    let text = read_text("/proc/self/maps")?;
    Ok(text
        .lines()
        .filter_map(parse_area)
        .find(|area| (area.start..area.end).contains(&address)))
}

/// `START-END MODE OFFSET DEVICE INODE PATH`, numbers in hex.
fn parse_area(line: &str) -> Option<Area> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(Area {
        start: hex(start)?,
        end: hex(end)?,
        mode: words.next()?.to_owned(),
        offset: hex(words.next()?)?,
        path: words.nth(2).unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read() {
        let line = "7f10a000-7f10c000 rw-s 00005000 00:1f 2                          /mnt/file";
        assert_eq!(
            parse_area(line),
            Some(Area {
                start: 0x7f10_a000,
                end: 0x7f10_c000,
                mode: "rw-s".into(),
                offset: 0x5000,
                path: "/mnt/file".into(),
            })
        );
        assert_eq!(parse_area("nonsense"), None);
    }

    #[test]
    fn commands_work_on_ordinary_memory() {
        let len = 2 * page_size();
        let fd = sys::memfd("maps", len as u64).unwrap();
        let mut maps = Maps::default();
        let request = MapRequest {
            offset: 0,
            len,
            writable: true,
            shared: true,
        };
        let Answer::Map(map) = maps.map(&fd, &request) else {
            panic!("not mapped");
        };
        let edge = page_size() - 3;
        let mut act = |command| maps.act(map, command);
        assert_eq!(act(MemoryCommand::VerifyZero { at: 0, len }), Answer::Done);
        let (at, len) = (edge, 6);
        act(MemoryCommand::Fill { at, len, seed: 1 });
        assert_eq!(
            act(MemoryCommand::Verify { at, len, seed: 1 }),
            Answer::Done
        );
        let other = act(MemoryCommand::Verify { at, len, seed: 2 });
        assert!(matches!(other, Answer::Failed(_)), "{other:?}");
        let zero = act(MemoryCommand::VerifyZero {
            at: edge - 8,
            len: 16,
        });
        assert!(matches!(zero, Answer::Failed(_)), "{zero:?}");
    }
}
