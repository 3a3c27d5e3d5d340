// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deadlines of a boot: each phase has a limit on its total time and a limit on silence.

use std::time::Duration;

use super::BootEnd;
use crate::results::Phase;

/// Time limits of a boot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Time from the start of QEMU to the first record.
    pub boot: Duration,
    /// Time without a byte on either stream. The guest sends a record at least every
    /// [`ALIVE_EVERY_MS`](protocol::record::ALIVE_EVERY_MS).
    pub silence: Duration,
    /// Time that a case gets beyond its own deadline, which the guest enforces. Also the limit on the time between
    /// cases.
    pub grace: Duration,
    /// Time from the guest's `Goodbye` record to the exit of QEMU.
    pub shutdown: Duration,
}

impl Limits {
    /// Returns the limits for TCG with the default flavour, multiplied by `scale`.
    pub(crate) fn scaled(scale: f64) -> Self {
        let seconds = |seconds: u64| Duration::from_secs(seconds).mul_f64(scale);
        Self { boot: seconds(60), silence: seconds(20), grace: seconds(15), shutdown: seconds(10) }
    }
}

/// Clocks of one boot. Times are counted from its start.
#[derive(Debug)]
pub(crate) struct Clocks {
    limits: Limits,
    phase: Phase,
    /// Time by which the phase, or the case that runs in it, must have ended.
    deadline: Duration,
    last_byte: Duration,
}

impl Clocks {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, phase: Phase::Boot, deadline: limits.boot, last_byte: Duration::ZERO }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Restarts the silence clock.
    pub(crate) fn byte_arrived(&mut self, now: Duration) {
        self.last_byte = now;
    }

    pub(crate) fn enter_phase(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        let limit = match phase {
            Phase::Shutdown => self.limits.shutdown,
            _ => self.limits.grace,
        };
        self.deadline = now.saturating_add(limit);
    }

    /// Sets the deadline of a case that has just started and may take `limit`.
    pub(crate) fn case_started(&mut self, limit: Duration, now: Duration) {
        self.deadline = now.saturating_add(limit + self.limits.grace);
    }

    /// Sets the deadline for the next case or the `Goodbye` record.
    pub(crate) fn case_ended(&mut self, now: Duration) {
        self.deadline = now.saturating_add(self.limits.grace);
    }

    /// Returns the reason for ending the boot if one of the clocks has run out.
    pub(crate) fn expired(&self, now: Duration) -> Option<BootEnd> {
        if now >= self.deadline {
            return Some(BootEnd::Overtime(self.phase));
        }
        let silent = now.saturating_sub(self.last_byte) >= self.limits.silence;
        silent.then_some(BootEnd::Silence(self.phase))
    }
}
