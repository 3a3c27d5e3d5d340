// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mappings of one process, client or server.

use std::collections::BTreeMap;

use sys::{Fd, Mapping, Prot};

use crate::stage::command::{Answer, Map, MapRequest, MappingCommand, MemoryCommand, Place};
use crate::stage::mapping;
use crate::stage::pins::Pin;

/// The mappings of one process by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    maps: BTreeMap<Map, Mapping>,
    next: u32,
    /// Pages that the process keeps alive beyond their mappings.
    pins: Vec<Pin>,
}

impl Maps {
    /// Executes a command. `fd` returns the file that this process maps, if it is open. Only commands that map need it.
    pub(crate) fn execute<'f>(
        &mut self,
        fd: impl FnOnce() -> Option<&'f Fd>,
        command: MemoryCommand,
    ) -> Answer {
        let fd = || fd().ok_or_else(|| Answer::Failed("the file is not open".into()));
        let result = match command {
            MemoryCommand::Unpin => {
                self.pins.clear();
                Ok(Answer::Done)
            }
            MemoryCommand::Mapping(map, command) => self.execute_on_mapping(map, command),
            MemoryCommand::Map(request, place) => fd().and_then(|fd| self.map(fd, &request, place)),
            MemoryCommand::MapAdjacent(request) => {
                fd().and_then(|fd| self.map_adjacent(fd, &request))
            }
        };
        result.unwrap_or_else(|answer| answer)
    }

    /// Returns the mapping with a number.
    ///
    /// # Errors
    /// Returns an answer that names a missing number.
    pub(crate) fn get(&self, map: Map) -> Result<&Mapping, Answer> {
        self.maps.get(&map).ok_or_else(|| missing(map))
    }

    fn take(&mut self, map: Map) -> Result<Mapping, Answer> {
        self.maps.remove(&map).ok_or_else(|| missing(map))
    }

    /// Gives a mapping a number.
    pub(crate) fn keep(&mut self, mapping: Mapping) -> Map {
        let map = Map(self.next);
        self.next += 1;
        self.maps.insert(map, mapping);
        map
    }

    fn map(&mut self, fd: &Fd, request: &MapRequest, place: Place) -> Result<Answer, Answer> {
        let (offset, len) = (request.offset, request.len);
        let (prot, sharing) = (request.prot, request.sharing);
        let mapping = match place {
            Place::Anywhere => Mapping::of(fd, offset, len, prot, sharing)?,
            Place::At { residue, period } => {
                Mapping::of_at(fd, offset, len, prot, sharing, (residue, period))?
            }
            Place::Over(map) => self.take(map)?.replace(fd, offset, prot, sharing)?,
        };
        Ok(Answer::Map(self.keep(mapping)))
    }

    fn map_adjacent(&mut self, fd: &Fd, request: &MapRequest) -> Result<Answer, Answer> {
        let (offset, len) = (request.offset, request.len);
        let (prot, sharing) = (request.prot, request.sharing);
        let (first, second) = Mapping::anonymous(2 * len, Prot::None)?.split(len);
        let first = first.replace(fd, offset, prot, sharing)?;
        let second = second.replace(fd, offset + len as u64, prot, sharing)?;
        Ok(Answer::Maps(self.keep(first), self.keep(second)))
    }

    fn execute_on_mapping(&mut self, map: Map, command: MappingCommand) -> Result<Answer, Answer> {
        match command {
            MappingCommand::Unmap => Ok(Answer::done(self.take(map)?.unmap())),
            MappingCommand::Pin { at, len, by } => {
                self.pins.push(Pin::new(self.get(map)?, at, len, by)?);
                Ok(Answer::Done)
            }
            MappingCommand::Cut { at } => {
                let (head, tail) = self.take(map)?.split(at);
                self.maps.insert(map, head);
                Ok(Answer::Map(self.keep(tail)))
            }
            MappingCommand::Punch { at, len } => {
                let (head, tail) = self.take(map)?.punch(at, len)?;
                self.maps.insert(map, head);
                Ok(Answer::Map(self.keep(tail)))
            }
            command => {
                let mapping = self.maps.get_mut(&map).ok_or_else(|| missing(map))?;
                Ok(mapping::execute(mapping, command))
            }
        }
    }
}

fn missing(map: Map) -> Answer {
    Answer::Failed(format!("there is no mapping {}", map.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::page_size;

    #[test]
    fn commands_work_on_ordinary_memory() {
        let len = 2 * page_size();
        let fd = sys::memfd("maps", len as u64).unwrap();
        let mut maps = Maps::default();
        let request = MemoryCommand::Map(MapRequest::shared(0, len), Place::Anywhere);
        let Answer::Map(map) = maps.execute(|| Some(&fd), request) else {
            panic!("not mapped");
        };
        let edge = page_size() - 3;
        let mut act = |command| maps.execute(|| None, MemoryCommand::Mapping(map, command));
        assert_eq!(act(MappingCommand::VerifyZero { at: 0, len }), Answer::Done);
        let (at, len) = (edge, 6);
        act(MappingCommand::Fill { at, len, seed: 1 });
        assert_eq!(act(MappingCommand::Verify { at, len, seed: 1 }), Answer::Done);
        let other = act(MappingCommand::Verify { at, len, seed: 2 });
        assert!(matches!(other, Answer::Failed(_)), "{other:?}");
        let zero = act(MappingCommand::VerifyZero { at: edge - 8, len: 16 });
        assert!(matches!(zero, Answer::Failed(_)), "{zero:?}");
    }

    #[test]
    fn a_command_that_cannot_be_executed_fails_with_a_reason() {
        let mut maps = Maps::default();
        let map = MemoryCommand::Map(MapRequest::shared(0, 1), Place::Anywhere);
        let answer = maps.execute(|| None, map);
        insta::assert_snapshot!(answer.describe(), @"the file is not open");
        let unmap = MemoryCommand::Mapping(Map(3), MappingCommand::Unmap);
        let answer = maps.execute(|| None, unmap);
        insta::assert_snapshot!(answer.describe(), @"there is no mapping 3");
    }
}
