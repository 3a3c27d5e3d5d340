// SPDX-License-Identifier: GPL-2.0-or-later
//! The process that the guest's kernel runs: its ID and its name.
//!
//! The kernel's function that switches to another task has the addresses of both tasks in registers. The offsets of ID
//! and name in `struct task_struct` depend on the kernel's configuration. The plugin finds them in the task of the
//! guest's init, which names an address at the start ([`Marker::Known`](crate::arch::Marker::Known)): its name is
//! `init`, its ID is 1, and its parent is `init_task`.

use super::Guest;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process ID of the thread.
    pub id: Option<u32>,
    /// Name of the thread, as in `/proc/PID/comm`.
    pub name: String,
}

/// Processes that the guest has run.
#[derive(Debug, Default)]
pub struct Tasks {
    /// Offset of the name in a task.
    name: Option<u64>,
    /// Offset of the ID in a task.
    id: Option<u64>,
    /// All processes seen. Number 0 stands for an unknown one.
    known: Vec<Process>,
    current: u16,
    /// Address of the current task.
    task: Option<u64>,
}

/// Bytes of a task in which offsets are searched. It is 2 to 9 KiB long, and most of it precedes the name.
const SEARCHED: usize = 8 << 10;

/// TASK_COMM_LEN in include/linux/sched.h.
const NAME: usize = 16;

/// Name of the guest's init.
const INIT: [u8; NAME] = *b"init\0\0\0\0\0\0\0\0\0\0\0\0";

impl Tasks {
    /// Returns true if the offsets are not known yet.
    pub fn are_unknown(&self) -> bool {
        self.name.is_none()
    }

    /// Finds the offsets in `init`, the task of the guest's init. `parent` is the address of its parent, and a word has
    /// `size` bytes.
    pub fn learn(
        &mut self,
        init: u64,
        parent: Option<u64>,
        size: usize,
        guest: &impl Guest,
        word: impl Fn(&[u8]) -> u64,
    ) {
        // A task is in one slab, whose size is not known: read as much as is mapped.
        let mut bytes = vec![0; SEARCHED];
        while !guest.read(init, &mut bytes) {
            bytes.truncate(bytes.len() / 2);
            if bytes.len() < 1024 {
                return;
            }
        }
        let mut places = (0..bytes.len() - NAME).step_by(4);
        let is_name = |at: &usize| bytes[*at..*at + NAME] == INIT;
        let (first, second) = (places.find(is_name), places.find(is_name));
        if let (Some(at), None) = (first, second) {
            self.name = Some(at as u64);
        }
        let at = |at: usize, size: usize| bytes.get(at..at + size).map(&word);
        // `pid`, `tgid`, perhaps `stack_canary`, `real_parent` and `parent`.
        let is_id = |place: &usize| {
            let ids = (at(*place, 4), at(*place + 4, 4)) == (Some(1), Some(1));
            let parents = |first: usize| [at(first, size), at(first + size, size)];
            let both = [parent, parent];
            ids && parent.is_some()
                && (parents(place + 8) == both || parents(place + 8 + size) == both)
        };
        self.id = (0..bytes.len()).step_by(size.min(8)).find(is_id).map(|at| at as u64);
    }

    /// Records that the kernel runs `task` from now on.
    pub fn switch(&mut self, task: u64, guest: &impl Guest, word: impl Fn(&[u8]) -> u64) {
        self.task = Some(task);
        self.current = 0;
        self.refresh(guest, word);
    }

    /// Reads ID and name of the current task again: exec(2) and prctl(2) change the name. Only the kernel's code can reach
    /// a task.
    pub fn refresh(&mut self, guest: &impl Guest, word: impl Fn(&[u8]) -> u64) {
        let (Some(task), Some(offset)) = (self.task, self.name) else {
            return;
        };
        let mut name = [0; NAME];
        if !guest.read(task.wrapping_add(offset), &mut name) {
            return;
        }
        let mut id = [0; 4];
        let read = self.id.is_some_and(|offset| guest.read(task.wrapping_add(offset), &mut id));
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        let process = Process {
            id: read.then(|| word(&id) as u32),
            name: String::from_utf8_lossy(&name[..length]).into_owned(),
        };
        self.current = match self.known.iter().rposition(|known| *known == process) {
            Some(at) => at as u16 + 1,
            None if self.known.len() < usize::from(u16::MAX) => {
                self.known.push(process);
                self.known.len() as u16
            }
            None => 0,
        };
    }

    /// Returns the number of the current process.
    pub fn current(&self) -> u16 {
        self.current
    }

    /// Returns the process with a number.
    pub fn process(&self, number: u16) -> Option<&Process> {
        self.known.get(usize::from(number).checked_sub(1)?)
    }
}
