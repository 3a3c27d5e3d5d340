// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keeper of a world: a client that reads pages whose owners store in them at the same time, and at the end checks
//! that no stamp was lost. Where pages are not lazy, it maps the whole file for as long as the world exists, so that pages
//! outlive their owners.

use std::time::Duration;

use fastrand::Rng;
use sys::{Errno, Fd, Mapping, OpenFlags, Prot, Sharing, page_size, sleep};

use super::access::{Checker, Scratch, Stop, View, Way, draw_spot, open, tolerate};
use super::board::{Board, Phase, Spot};
use super::layout::{Class, Layout, SLOTS};

/// Parameters of a keeper.
pub(super) struct Keeper<'a> {
    pub(super) layout: Layout,
    pub(super) board: &'a Board,
    /// File to open.
    pub(super) path: String,
    /// Number under which its steps are counted.
    pub(super) worker: usize,
    pub(super) seed: u64,
}

impl Keeper<'_> {
    /// Reads pages until the world ends, and then all of them. The first step is counted when the pages that must never
    /// disappear exist.
    pub(super) fn run(&self) -> Result<(), Stop> {
        let (board, layout) = (self.board, self.layout);
        let checker = Checker { board, layout, by_server: false };
        let file = open(&self.path, OpenFlags::READ | OpenFlags::WRITE)?;
        let scratch = Scratch::new()?;
        let mut view = map(&file, 0, layout.pages)?;
        let is_kept = |page: &usize| layout.class(*page) == Class::Kept;
        if !layout.lazy {
            for page in (0..layout.pages).filter(is_kept) {
                view.require(Spot { page, slot: 0 }, &scratch)?;
            }
        }

        let mut rng = Rng::with_seed(self.seed);
        while board.phase(layout.world) < Phase::KeeperEnds {
            if layout.lazy {
                // The server saves pages that no other process maps.
                drop(view);
                let first = rng.usize(0..layout.pages);
                view = map(&file, first, rng.usize(1..=4).min(layout.pages - first))?;
            }
            let page = view.first + rng.usize(0..view.pages());
            let spot = draw_spot(&mut rng, page);
            let way = match !layout.lazy && is_kept(&page) {
                true => Way::Direct,
                false => Way::BySystemCall(&scratch),
            };
            checker.check(&view, spot, way)?;
            board.count_step(layout.world, self.worker);
            sleep(Duration::from_millis(rng.u64(0..3)));
        }

        let view = match layout.lazy {
            true => map(&file, 0, layout.pages)?,
            false => view,
        };
        for page in (0..layout.pages).filter(is_kept) {
            for slot in 0..SLOTS {
                let spot = Spot { page, slot };
                view.require(spot, &scratch)?;
                checker.check(&view, spot, Way::Direct)?;
                board.count_step(layout.world, self.worker);
            }
        }
        Ok(())
    }
}

/// Maps pages of the file. Waits as long as a limit refuses that; the director notices a wait without end.
fn map(file: &Fd, first: usize, pages: usize) -> Result<View, Stop> {
    let page = page_size();
    let (prot, sharing) = (Prot::ReadWrite, Sharing::Shared);
    let map = || Mapping::of(file, (first * page) as u64, pages * page, prot, sharing);
    loop {
        match tolerate(map(), &[Errno::ENOMEM, Errno::EAGAIN])? {
            Some(map) => return Ok(View::new(map, first, true)),
            None => sleep(Duration::from_millis(2)),
        }
    }
}

impl View {
    /// Waits until the kernel provides the page, which a limit can prevent for a while.
    fn require(&self, spot: Spot, scratch: &Scratch) -> Result<(), Stop> {
        while !self.is_there(spot, scratch)? {
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}
