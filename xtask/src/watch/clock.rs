// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two clocks a phase: how long it may take, and how long nothing may be heard.

use std::time::Duration;

use super::BootEnd;
use crate::verdict::Phase;

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// From the start of QEMU to the first record.
    pub boot: Duration,
    /// Without a byte on either stream. The guest speaks at least every
    /// [`ALIVE_EVERY_MS`](protocol::record::ALIVE_EVERY_MS).
    pub silence: Duration,
    /// Beyond a case's own deadline, which the guest watches; and from one case to the next.
    pub grace: Duration,
    /// From the goodbye to the end of QEMU.
    pub shutdown: Duration,
}

impl Limits {
    /// The limits under TCG with the default flavour, multiplied by `scale`.
    pub(crate) fn scaled(scale: f64) -> Self {
        let seconds = |seconds: u64| Duration::from_secs(seconds).mul_f64(scale);
        Self {
            boot: seconds(60),
            silence: seconds(20),
            grace: seconds(15),
            shutdown: seconds(10),
        }
    }
}

/// The clocks of one boot. Times are counted from its start.
#[derive(Debug)]
pub(crate) struct Clocks {
    limits: Limits,
    phase: Phase,
    /// When the phase, or what runs inside it, has taken too long.
    total: Duration,
    heard: Duration,
}

impl Clocks {
    /// Starts them.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Boot,
            total: limits.boot,
            heard: Duration::ZERO,
        }
    }

    /// The phase they are in.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// A byte arrived.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.heard = now;
    }

    /// A phase begins.
    pub(crate) fn enter(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        let limit = match phase {
            Phase::Shutdown => self.limits.shutdown,
            _ => self.limits.grace,
        };
        self.total = now.saturating_add(limit);
    }

    /// A case with this deadline begins.
    pub(crate) fn case_start(&mut self, deadline: Duration, now: Duration) {
        self.total = now.saturating_add(deadline + self.limits.grace);
    }

    /// A case ended; the next one, or the goodbye, is due.
    pub(crate) fn case_end(&mut self, now: Duration) {
        self.total = now.saturating_add(self.limits.grace);
    }

    /// Which clock ran out, if one did.
    pub(crate) fn expired(&self, now: Duration) -> Option<BootEnd> {
        if now >= self.total {
            return Some(BootEnd::Overtime(self.phase));
        }
        let silent = now.saturating_sub(self.heard) >= self.limits.silence;
        silent.then_some(BootEnd::Silence(self.phase))
    }
}
