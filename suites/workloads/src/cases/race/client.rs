// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client: a process with several threads, which share its address space. Each thread is a worker that takes random
//! steps and owns pages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use sys::{
    Advice, Errno, ExitStatus, Fd, ForkResult, KillTarget, Mapping, OpenFlags, Prot, Sharing,
    Signal, page_size, read_memory, read_text, yield_now,
};

use super::access::{Checker, Scratch, Stop, View, Way, draw_spot, open, tolerate};
use super::board::{Phase, Spot};
use super::layout::{Class, Layout};
use super::steps::{Step, Steps};
use super::world::Shared;

/// Largest number of pages of a mapping.
const LONGEST: usize = 6;

/// Mappings that a worker has at most.
const VIEWS: usize = 5;

/// Errors of system calls that limits cause. A limit of mappings can also refuse fork and mremap.
const LIMITED: &[Errno] = &[Errno::ENOMEM, Errno::EAGAIN];

/// Errors of mremap, mprotect and madvise: limits, advice that shared memory does not take, moves that are too long, and
/// pages that the kernel cannot provide.
const REFUSED: &[Errno] =
    &[Errno::ENOMEM, Errno::EAGAIN, Errno::EINVAL, Errno::EFAULT, Errno::EBUSY, Errno::EIO];

const ADVICE: &[Advice] = &[
    Advice::DontNeed,
    Advice::PopulateRead,
    Advice::PopulateWrite,
    Advice::Cold,
    Advice::PageOut,
    Advice::WillNeed,
    Advice::DontFork,
    Advice::DoFork,
];

/// Parameters of a client.
pub(super) struct Client<'a> {
    pub(super) layout: Layout,
    pub(super) shared: &'a Shared,
    /// File to open.
    pub(super) path: String,
    /// Number of the client's first worker.
    pub(super) first_worker: usize,
    pub(super) threads: usize,
    pub(super) seed: u64,
    /// Distance after which cache colours repeat, in bytes.
    pub(super) period: u64,
}

impl Client<'_> {
    /// Runs all workers until the world ends.
    pub(super) fn run(&self) -> Result<(), Stop> {
        let file = open(&self.path, OpenFlags::READ | OpenFlags::WRITE)?;
        let public = Public::default();
        sys::run_threads(self.threads, &|thread| {
            let worker = Worker::new(self, &file, &public, self.first_worker + thread);
            if let Err(stop) = worker.and_then(|mut worker| worker.walk()) {
                // Ends the other threads too.
                self.shared.reports.end_process(Err(stop));
            }
        })?;
        Ok(())
    }
}

/// Mapping that all threads of a client use: each replaces it without waiting until the others no longer read it.
#[derive(Default)]
struct Public {
    view: Mutex<Option<View>>,
    /// Address and length of the mapping, or of one that is gone.
    at: AtomicUsize,
    len: AtomicUsize,
}

impl Public {
    fn lock(&self) -> MutexGuard<'_, Option<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, map: &Mapping) {
        self.len.store(map.len(), Ordering::Relaxed);
        self.at.store(map.address() as usize, Ordering::Relaxed);
    }
}

pub(super) struct Worker<'a> {
    client: &'a Client<'a>,
    file: &'a Fd,
    public: &'a Public,
    worker: usize,
    rng: Rng,
    scratch: Scratch,
    views: Vec<View>,
}

type Action = fn(&mut Worker) -> Result<(), Stop>;

/// Steps of a client's worker.
#[rustfmt::skip]
pub(super) const STEPS: &[Step<Action>] = &[
    (12, "map", |worker| worker.map()),
    (8, "unmap", |worker| worker.unmap()),
    (3, "punch", |worker| worker.punch()),
    (24, "store-kept", |worker| worker.restamp_kept()),
    (8, "store-loose", |worker| worker.restamp_loose()),
    (14, "look", |worker| worker.look()),
    (5, "fork", |worker| worker.fork()),
    (4, "protect", |worker| worker.protect()),
    (4, "resize", |worker| worker.resize()),
    (4, "move", |worker| worker.relocate()),
    (5, "advise", |worker| worker.advise()),
    (7, "replace-public", |worker| worker.replace_public()),
    (9, "read-public", |worker| worker.read_public()),
    (1, "open", |worker| worker.open()),
    (1, "read-smaps", |worker| worker.read_maps()),
    (3, "yield", |worker| worker.pause()),
];

impl<'a> Worker<'a> {
    fn new(
        client: &'a Client,
        file: &'a Fd,
        public: &'a Public,
        worker: usize,
    ) -> Result<Worker<'a>, Stop> {
        let rng = Rng::with_seed(client.seed.wrapping_add(worker as u64));
        let (scratch, views) = (Scratch::new()?, Vec::new());
        Ok(Worker { client, file, public, worker, rng, scratch, views })
    }

    fn walk(&mut self) -> Result<(), Stop> {
        let (board, world) = (&self.client.shared.board, self.client.layout.world);
        let steps = Steps::of(STEPS, &self.client.shared.without);
        while board.phase(world) == Phase::Run {
            if let Some(step) = steps.draw(&mut self.rng) {
                step(self)?;
            }
            board.count_step(world, self.worker);
        }
        Ok(())
    }

    fn layout(&self) -> &'a Layout {
        &self.client.layout
    }

    fn checker(&self) -> Checker<'a> {
        Checker { board: &self.client.shared.board, layout: self.client.layout, by_server: false }
    }

    /// Maps `pages` pages. Returns false if a limit refuses that.
    fn map_pages(&mut self, first: usize, pages: usize, writable: bool) -> Result<bool, Stop> {
        let Some(map) = tolerate(self.mapping(first, pages, writable), LIMITED)? else {
            return Ok(false);
        };
        if self.views.len() >= VIEWS {
            let victim = self.rng.usize(0..self.views.len());
            tolerate(self.views.swap_remove(victim).map.unmap(), LIMITED)?;
        }
        self.views.push(View::new(map, first, writable));
        Ok(true)
    }

    fn mapping(&self, first: usize, pages: usize, writable: bool) -> sys::Result<Mapping> {
        let page = page_size();
        let prot = if writable { Prot::ReadWrite } else { Prot::Read };
        Mapping::of(self.file, (first * page) as u64, pages * page, prot, Sharing::Shared)
    }

    /// Draws a range of pages.
    fn draw_range(&mut self) -> (usize, usize) {
        let first = self.rng.usize(0..self.layout().pages);
        let pages = self.rng.usize(1..=LONGEST).min(self.layout().pages - first);
        (first, pages)
    }

    fn draw_view(&mut self) -> Option<usize> {
        match self.views.len() {
            0 => None,
            len => Some(self.rng.usize(0..len)),
        }
    }

    fn map(&mut self) -> Result<(), Stop> {
        let (first, pages) = self.draw_range();
        let writable = self.rng.u32(0..4) > 0;
        self.map_pages(first, pages, writable).map(drop)
    }

    fn unmap(&mut self) -> Result<(), Stop> {
        match self.draw_view() {
            None => Ok(()),
            Some(view) => tolerate(self.views.swap_remove(view).map.unmap(), LIMITED).map(drop),
        }
    }

    /// Unmaps a part of a mapping.
    fn punch(&mut self) -> Result<(), Stop> {
        let Some(index) = self.draw_view() else {
            return Ok(());
        };
        let View { map, first, writable, inherited } = self.views.swap_remove(index);
        let pages = map.len() / page_size();
        let at = self.rng.usize(0..pages);
        let len = self.rng.usize(1..=pages - at);
        // If a limit refuses to split the mapping, all of it is unmapped.
        if let Some((head, tail)) =
            tolerate(map.punch(at * page_size(), len * page_size()), LIMITED)?
        {
            let rest = [(head, first), (tail, first + at + len)];
            let rest = rest.into_iter().filter(|(map, _)| !map.is_empty());
            self.views.extend(rest.map(|(map, first)| View { map, first, writable, inherited }));
        }
        Ok(())
    }

    /// Returns a writable view of `page`, made now if there is none.
    fn writable_view(&mut self, page: usize) -> Result<Option<usize>, Stop> {
        let found = |view: &View| view.writable && view.shows(page);
        if let Some(index) = self.views.iter().position(found) {
            return Ok(Some(index));
        }
        let first = page.saturating_sub(self.rng.usize(0..3));
        let pages = (page - first + 1 + self.rng.usize(0..2)).min(self.layout().pages - first);
        Ok(self.map_pages(first, pages, true)?.then(|| self.views.len() - 1))
    }

    fn restamp_kept(&mut self) -> Result<(), Stop> {
        // Where the server fills pages, a limit can refuse the page, and a direct access then kills the process.
        let direct = match self.layout().lazy {
            true => self.rng.u32(0..8) == 0,
            false => self.rng.u32(0..4) > 0,
        };
        self.restamp(Class::Kept, direct)
    }

    fn restamp_loose(&mut self) -> Result<(), Stop> {
        self.restamp(Class::Loose, false)
    }

    fn restamp(&mut self, class: Class, direct: bool) -> Result<(), Stop> {
        let own = self.layout().pages_of(Some(self.worker), class);
        let Some(&page) = self.rng.choice(&own) else {
            return Ok(());
        };
        let Some(view) = self.writable_view(page)? else {
            return Ok(());
        };
        let way = if direct { Way::Direct } else { Way::BySystemCall(&self.scratch) };
        let checker = self.checker();
        for _ in 0..self.rng.u32(1..4) {
            let spot = draw_spot(&mut self.rng, page);
            checker.restamp(&self.views[view], spot, way)?;
        }
        Ok(())
    }

    /// Checks pages of a view, of any owner.
    fn look(&mut self) -> Result<(), Stop> {
        let Some(view) = self.draw_view() else {
            return Ok(());
        };
        let checker = self.checker();
        for _ in 0..4 {
            let view = &self.views[view];
            let page = view.first + self.rng.usize(0..view.pages());
            let spot = draw_spot(&mut self.rng, page);
            let way = match is_always_there(self.layout(), page) {
                true => Way::Direct,
                false => Way::BySystemCall(&self.scratch),
            };
            checker.check(view, spot, way)?;
        }
        Ok(())
    }

    /// Forks a process that uses a view, and then exits or is killed.
    fn fork(&mut self) -> Result<(), Stop> {
        let Some(view) = self.draw_view() else {
            return Ok(());
        };
        let (unmaps, dies) = (self.rng.bool(), self.rng.bool());
        let inherited = self.views[view].inherited;
        let spot = draw_spot(&mut self.rng, 0);
        let parent = format!("/proc/{}", sys::own_pid());
        let Some(forked) = tolerate(sys::fork(), LIMITED)? else {
            return Ok(());
        };
        let ForkResult::Parent(child) = forked else {
            let _ = sys::die_with_parent();
            let view = self.views.swap_remove(view);
            // After MADV_DONTFORK, this process does not have it.
            let checked = if inherited { self.look_at_all(&view, spot.slot) } else { Ok(()) };
            // If the parent was killed before `die_with_parent`, the board may be that of a new world.
            if checked.is_err() && sys::exists(&parent) {
                self.client.shared.reports.end_process(checked);
            }
            if unmaps {
                drop(view);
            }
            if dies {
                let _ = sys::kill(KillTarget::Process(sys::own_pid()), Signal::Kill);
            }
            sys::exit(0)
        };
        match sys::wait(child)? {
            ExitStatus::Code(0) | ExitStatus::Signal(Signal::Kill) => Ok(()),
            // It accesses pages that limits can refuse.
            ExitStatus::Signal(Signal::Bus) => Ok(()),
            other => Err(Stop::Failed(format!("a forked process {other}"))),
        }
    }

    /// Accesses a stamp of each page directly: first those of pages that are always there.
    fn look_at_all(&self, view: &View, slot: usize) -> Result<(), Stop> {
        let (checker, layout) = (self.checker(), self.layout());
        let pages = view.first..view.first + view.pages();
        let (there, others): (Vec<_>, Vec<_>) =
            pages.partition(|&page| is_always_there(layout, page));
        let mut pages = there.into_iter().chain(others);
        pages.try_for_each(|page| checker.check(view, Spot { page, slot }, Way::Direct))
    }

    fn protect(&mut self) -> Result<(), Stop> {
        let Some(index) = self.draw_view() else {
            return Ok(());
        };
        let view = &mut self.views[index];
        let prot = if view.writable { Prot::Read } else { Prot::ReadWrite };
        if tolerate(view.map.protect(prot), REFUSED)?.is_some() {
            view.writable = !view.writable;
        }
        Ok(())
    }

    fn resize(&mut self) -> Result<(), Stop> {
        let Some(index) = self.draw_view() else {
            return Ok(());
        };
        let view = &mut self.views[index];
        let pages = self.rng.usize(1..=view.pages());
        tolerate(view.map.resize(pages * page_size()), REFUSED).map(drop)
    }

    /// Moves a mapping to another address of the same cache colour.
    fn relocate(&mut self) -> Result<(), Stop> {
        let Some(index) = self.draw_view() else {
            return Ok(());
        };
        let period = self.client.period;
        let view = &mut self.views[index];
        let len = view.map.len();
        let residue = view.map.address() % period;
        let Some(place) = tolerate(Mapping::reserve_at(len, residue, period), LIMITED)? else {
            return Ok(());
        };
        tolerate(view.map.move_to(place, len), REFUSED).map(drop)
    }

    fn advise(&mut self) -> Result<(), Stop> {
        let Some(index) = self.draw_view() else {
            return Ok(());
        };
        let advice = ADVICE[self.rng.usize(0..ADVICE.len())];
        let view = &mut self.views[index];
        let accepted = tolerate(view.map.advise(advice), REFUSED)?.is_some();
        match advice {
            // After an error, it may hold for a part.
            Advice::DontFork => view.inherited = false,
            Advice::DoFork if accepted => view.inherited = true,
            _ => {}
        }
        Ok(())
    }

    /// Makes, replaces, shortens or unmaps the public mapping, while other threads read it.
    fn replace_public(&mut self) -> Result<(), Stop> {
        let (first, pages) = self.draw_range();
        let mut public = self.public.lock();
        let Some(mut view) = public.take() else {
            if let Some(map) = tolerate(self.mapping(first, pages, true), LIMITED)? {
                self.public.show(&map);
                *public = Some(View::new(map, first, true));
            }
            return Ok(());
        };
        match self.rng.u32(0..4) {
            0 => tolerate(view.map.unmap(), LIMITED).map(drop)?,
            1 => {
                let kept = self.rng.usize(1..=view.pages());
                tolerate(view.map.resize(kept * page_size()), REFUSED)?;
                self.public.show(&view.map);
                *public = Some(view);
            }
            _ => {
                // MAP_FIXED over the old mapping. Its colour can be wrong for the new pages.
                let offset = self.rng.usize(0..=self.layout().pages - view.pages());
                let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
                let at = (offset * page_size()) as u64;
                let replaced = view.map.replace_in_place(self.file, at, prot, sharing);
                let errors = &[Errno::ENOMEM, Errno::EAGAIN, Errno::EINVAL];
                match tolerate(replaced, errors)? {
                    Some(()) => *public = Some(View { first: offset, ..view }),
                    // Another thread may have mapped something in the hole.
                    None => std::mem::forget(view.map),
                }
            }
        }
        Ok(())
    }

    /// Has the kernel read the public mapping, which another thread may be replacing.
    fn read_public(&mut self) -> Result<(), Stop> {
        let (at, len) =
            (self.public.at.load(Ordering::Relaxed), self.public.len.load(Ordering::Relaxed));
        if at == 0 {
            return Ok(());
        }
        let page = self.rng.usize(0..len / page_size()) * page_size();
        let mut word = [0; 4];
        // Any address can be unmapped by now, so an error means nothing.
        let _ = read_memory(sys::own_pid(), (at + page) as u64, &mut word);
        Ok(())
    }

    /// Opens and closes the file.
    fn open(&mut self) -> Result<(), Stop> {
        open(&self.client.path, OpenFlags::READ).map(drop)
    }

    fn read_maps(&mut self) -> Result<(), Stop> {
        read_text("/proc/self/smaps").map(drop).map_err(Stop::from)
    }

    fn pause(&mut self) -> Result<(), Stop> {
        yield_now();
        Ok(())
    }
}

/// Returns true if the page exists for as long as its server. The keeper of the world maps it.
fn is_always_there(layout: &Layout, page: usize) -> bool {
    !layout.lazy && layout.class(page) == Class::Kept
}
