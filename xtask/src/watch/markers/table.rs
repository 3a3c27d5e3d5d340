// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of markers. Specific markers come before general ones.
//!
//! Texts and source files are those of Linux 6.12. A comment gives the version where a later kernel differs.

use super::{Marker, Severity};

/// All markers. The order matters: the first matching marker gets the line.
pub(crate) static MARKERS: &[Marker] = &[
    // The machine never starts its init. Most of these lines precede a panic and give its reason.
    boot("initramfs", r"Initramfs unpacking failed: ", "init/initramfs.c"),
    boot(
        "no root",
        r"VFS: (?:Cannot open root device|Unable to mount root fs)",
        "init/do_mounts.c",
    ),
    boot("no init", r"No working init found\.|Requested init \S+ failed", "init/main.c"),
    // The error is between -ENOENT (the file does not exist) and -ENOEXEC (the file is for another machine).
    boot("init not run", r"Failed to execute \S+ \(error -[0-9]+\)", "init/main.c: kernel_init"),
    // Panics, those with a specific reason first.
    crash("init died", r"Kernel panic - not syncing: Attempted to kill init!", "kernel/exit.c"),
    crash(
        "out of memory",
        r"Kernel panic - not syncing: (?:System is deadlocked on memory|Out of memory)",
        "mm/oom_kill.c",
    ),
    crash("panic", r"Kernel panic - not syncing", "kernel/panic.c"),
    crash("sysrq crash", r"sysrq: Trigger a crash", "drivers/tty/sysrq.c"),
    // Faults in the kernel, as each architecture prints them. The lab boots with oops=panic.
    crash("null pointer", r"BUG: kernel NULL pointer dereference", "arch/x86/mm/fault.c"),
    crash("page fault", r"BUG: unable to handle ", "arch/x86/mm/fault.c, arch/sh/mm/fault.c"),
    crash(
        "page fault",
        r"Unable to handle kernel ",
        "arch/{arm,arm64,sparc,mips,riscv,loongarch,m68k}/mm/fault*.c",
    ),
    // The line for a fault in a program has no count and does not match: `init[1] general protection fault ip:...`.
    crash(
        "general protection",
        r"general protection fault.*: [0-9a-f]{4} \[#[0-9]+\]",
        "arch/x86/kernel/traps.c",
    ),
    crash(
        "double fault",
        r"PANIC: double fault|double fault: [0-9a-f]{4} \[#[0-9]+\]",
        "arch/x86/kernel/traps.c",
    ),
    crash("stack overflow", r"BUG: .*stack guard page was hit", "arch/x86/kernel/traps.c"),
    crash(
        "stack overflow",
        r"Insufficient stack space to handle exception",
        "arch/arm*/kernel/traps.c",
    ),
    crash("kernel BUG", r"kernel BUG at ", "lib/bug.c, arch/{sparc,m68k}"),
    // parisc ends in parisc_terminate() or in die_if_kernel(). The line for a fault in a program continues with
    // " at <address>" and does not match.
    crash("parisc fault", r": Code=[0-9]+ \(.*\) at addr ", "arch/parisc/kernel/traps.c"),
    crash("parisc fault", r"\(pid [0-9]+\): .* \(code -?[0-9]+\)$", "arch/parisc/kernel/traps.c"),
    // The number of the oops, which die() prints on every architecture but parisc: `Oops: 0002 [#1] SMP`, `Oops[#1]:`,
    // `Internal error: Oops: 805 [#1] SMP ARM`, `init(1): Kernel bad sw trap 5 [#1]`.
    crash("oops", r"\[#[1-9][0-9]*\]", "arch/*/kernel/{traps*,dumpstack}.c"),
    // m68k prints the fault instead of a number.
    crash("oops", r"(?:Oops|BAD KERNEL TRAP): [0-9a-f]{8}", "arch/m68k/kernel/traps.c"),
    // A second banner in one boot: the machine has restarted.
    Marker {
        allowed: 1,
        ..crash("reboot", r"Linux version [0-9]+\.[0-9]+", "init/version-timestamp.c")
    },
    // Sanitizers.
    warning("KASAN", r"BUG: KASAN: ", "mm/kasan/report.c"),
    warning("KFENCE", r"BUG: KFENCE: ", "mm/kfence/report.c"),
    warning("KCSAN", r"BUG: KCSAN: ", "kernel/kcsan/report.c"),
    warning("KMSAN", r"BUG: KMSAN: ", "mm/kmsan/report.c"),
    warning("UBSAN", r"UBSAN: .* in ", "lib/ubsan.c"),
    // Lines in which kmemleak reports errors of its own, or that it is enabled, do not match.
    warning(
        "kmemleak",
        r"kmemleak: (?:[0-9]+ new suspected|.*unknown object|Cannot insert|Found object by alias|Scan area larger)",
        "mm/kmemleak.c",
    ),
    // Locks.
    warning(
        "lockdep",
        r"WARNING: (?:possible |.*-unsafe lock order|inconsistent lock state|Nested lock was not taken)",
        "kernel/locking/lockdep.c",
    ),
    warning(
        "lockdep",
        r"WARNING: (?:bad unlock balance|bad contention|held lock freed|chain_key collision)",
        "kernel/locking/lockdep.c",
    ),
    warning(
        "lock held",
        r"still has locks held!|WARNING: lock held when returning to user space!",
        "kernel/locking/lockdep.c",
    ),
    warning("lockdep", r"\[ BUG: Invalid wait context \]", "kernel/locking/lockdep.c"),
    warning("RCU usage", r"WARNING: suspicious RCU usage", "kernel/locking/lockdep.c"),
    // Lockdep turns itself off after one of these.
    warning(
        "lockdep off",
        r"INFO: trying to register non-static key|turning off the locking correctness validator",
        "kernel/locking/lockdep.c",
    ),
    warning(
        "atomic sleep",
        r"BUG: sleeping function called from invalid context",
        "kernel/sched/core.c",
    ),
    warning("atomic sleep", r"BUG: scheduling while atomic", "kernel/sched/core.c"),
    // Stalls and lockups.
    warning(
        "RCU stall",
        r"INFO: rcu\w* (?:self-)?detected (?:expedited )?stall",
        "kernel/rcu/tree_stall.h",
    ),
    // A host that pauses the machine for a while causes one such line; a CPU that is stuck repeats it every half minute.
    Marker { allowed: 1, ..warning("soft lockup", r"BUG: soft lockup", "kernel/watchdog.c") },
    Marker {
        allowed: 1,
        ..warning("workqueue lockup", r"BUG: workqueue lockup", "kernel/workqueue.c")
    },
    warning("hard lockup", r"Watchdog detected hard LOCKUP", "kernel/watchdog.c"),
    warning(
        "hung task",
        r"INFO: task .* blocked (?:in I/O wait )?for more than ",
        "kernel/hung_task.c",
    ),
    // Memory. "Memory cgroup out of memory" does not match: a case may reach the limit of a cgroup on purpose.
    warning("out of memory", r"Out of memory(?: \(\w+\))?: Killed process", "mm/oom_kill.c"),
    warning("bad page", r"BUG: Bad page ", "mm/page_alloc.c, mm/memory.c, mm/filemap.c"),
    warning("bad page", r"page dumped because: ", "mm/debug.c"),
    warning(
        "bad counter",
        r"BUG: Bad rss-counter state|BUG: non-zero pgtables_bytes",
        "kernel/fork.c",
    ),
    warning(
        "page poison",
        r"pagealloc: (?:single bit error|memory corruption)",
        "mm/page_poison.c",
    ),
    warning("slab", r"BUG \S+ \(.*\): ", "mm/slub.c"),
    warning("refcount", r"refcount_t: ", "lib/refcount.c"),
    warning("list corruption", r"list_(?:add|del) corruption", "lib/list_debug.c"),
    warning("interrupt", r"irq [0-9]+: nobody cared", "kernel/irq/spurious.c"),
    // All other warnings and bugs. Linux 6.19 and later print the second form of WARNING.
    warning("WARNING", r"WARNING: CPU: [0-9]+ PID: [0-9]+ at ", "kernel/panic.c"),
    warning("WARNING", r"WARNING: (?:\S+:[0-9]+ )?at .*, CPU#[0-9]+: ", "kernel/panic.c"),
    warning("BUG", r"\bBUG: ", "anywhere"),
];

const fn crash(name: &'static str, pattern: &'static str, source: &'static str) -> Marker {
    marker(Severity::Crash, name, pattern, source)
}

const fn boot(name: &'static str, pattern: &'static str, source: &'static str) -> Marker {
    marker(Severity::Boot, name, pattern, source)
}

const fn warning(name: &'static str, pattern: &'static str, source: &'static str) -> Marker {
    marker(Severity::Warning, name, pattern, source)
}

const fn marker(
    severity: Severity,
    name: &'static str,
    pattern: &'static str,
    source: &'static str,
) -> Marker {
    Marker { name, pattern, severity, allowed: 0, source }
}
