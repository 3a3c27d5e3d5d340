// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matches the logs in `tests/logs` against the table. Most were recorded from a kernel that was made to fail; the
//! name of the log states how.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

fn logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs")
}

/// Returns the hits in the log, read as one boot.
fn scan(log: &str) -> Vec<Hit> {
    let path = logs().join(log).with_extension("log");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut scanner = Scanner::default();
    text.lines().filter_map(|line| scanner.line(line)).collect()
}

/// Returns the hits as text: severity, name and line without its time stamp.
fn hits(log: &str) -> String {
    let lines = scan(log).into_iter().map(|Hit { marker, line }| {
        let text = line.split_once("] ").map_or(&*line, |(_, text)| text);
        format!("{:?} {}: {text}", marker.severity, marker.name)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_clean_boot_has_no_hits() {
    insta::assert_snapshot!(hits("clean-boot"), @"");
}

#[test]
fn faults_in_programs_are_not_hits() {
    insta::assert_snapshot!(hits("program-faults"), @"");
}

#[test]
fn crashes() {
    insta::assert_snapshot!(hits("sysrq-crash"), @"
    Crash sysrq crash: sysrq: Trigger a crash
    Crash panic: Kernel panic - not syncing: sysrq triggered crash
    ");
    insta::assert_snapshot!(hits("init-exits"), @"Crash init died: Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300");
    insta::assert_snapshot!(hits("kernel-bug"), @"
    Crash kernel BUG: kernel BUG at drivers/misc/lkdtm/bugs.c:105!
    Crash oops: Oops: invalid opcode: 0000 [#1] SMP KASAN
    Crash panic: Kernel panic - not syncing: Fatal exception
    ");
    insta::assert_snapshot!(hits("general-protection"), @"
    Crash general protection: Oops: general protection fault, probably for non-canonical address 0xdffffc0000000000: 0000 [#1] SMP KASAN
    Crash panic: Kernel panic - not syncing: Fatal exception
    ");
    insta::assert_snapshot!(hits("null-pointer"), @"
    Crash null pointer: BUG: kernel NULL pointer dereference, address: 0000000000000000
    Crash oops: Oops: Oops: 0010 [#1] SMP KASAN
    Crash panic: Kernel panic - not syncing: Fatal exception
    ");
    insta::assert_snapshot!(hits("page-fault"), @"
    Crash page fault: BUG: unable to handle page fault for address: ffffffff81f3be40
    Crash oops: Oops: Oops: 0003 [#1] SMP KASAN
    Crash panic: Kernel panic - not syncing: Fatal exception
    ");
}

#[test]
fn a_boot_that_cannot_succeed() {
    insta::assert_snapshot!(hits("init-missing"), @r#"
    Boot no root: VFS: Cannot open root device "" or unknown-block(0,0): error -19
    Boot no root: Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
    "#);
}

#[test]
fn memory() {
    insta::assert_snapshot!(hits("out-of-memory"), @"Warning out of memory: Out of memory: Killed process 28 (init) total-vm:375896kB, anon-rss:373760kB, file-rss:0kB, shmem-rss:264kB, UID:0 pgtables:772kB oom_score_adj:800");
    insta::assert_snapshot!(hits("kasan"), @"
    Warning KASAN: BUG: KASAN: slab-use-after-free in lkdtm_WRITE_AFTER_FREE+0xf2/0x120
    Warning bad page: page dumped because: kasan: bad access detected
    ");
    insta::assert_snapshot!(hits("kmemleak"), @"Warning kmemleak: kmemleak: 16 new suspected memory leaks (see /sys/kernel/debug/kmemleak)");
    insta::assert_snapshot!(hits("bad-page"), @"
    Warning bad page: BUG: Bad page state in process init  pfn:00e21
    Warning bad page: page dumped because: non-NULL mapping
    ");
    insta::assert_snapshot!(hits("bad-rss"), @"Warning bad counter: BUG: Bad rss-counter state mm:(____ptrval____) type:MM_ANONPAGES val:3");
    insta::assert_snapshot!(hits("slab-leak"), @"
    Warning slab: BUG dmmap_region (Not tainted): Objects remaining on __kmem_cache_shutdown()
    Warning WARNING: WARNING: CPU: 0 PID: 28 at mm/slub.c:1152 __kmem_cache_shutdown+0x2b7/0x3a0
    Warning WARNING: WARNING: CPU: 0 PID: 28 at mm/slab_common.c:548 kmem_cache_destroy+0x147/0x150
    ");
}

#[test]
fn checks_in_the_kernel() {
    insta::assert_snapshot!(hits("warning"), @"Warning WARNING: WARNING: CPU: 0 PID: 27 at drivers/misc/lkdtm/bugs.c:117 lkdtm_WARNING_MESSAGE+0x1f/0x30");
    insta::assert_snapshot!(hits("list-corruption"), @"
    Warning list corruption: list_del corruption. next->prev should be ffff888000ea7c00, but was 0000000000000000. (next=ffff888000ea7c40)
    Warning WARNING: WARNING: CPU: 0 PID: 28 at lib/list_debug.c:65 __list_del_entry_valid_or_report+0x148/0x1c0
    ");
    insta::assert_snapshot!(hits("refcount"), @"
    Warning refcount: refcount_t: decrement hit 0; leaking memory.
    Warning WARNING: WARNING: CPU: 0 PID: 27 at lib/refcount.c:31 refcount_warn_saturate+0x87/0x140
    ");
    insta::assert_snapshot!(hits("ubsan"), @"Warning UBSAN: UBSAN: array-index-out-of-bounds in drivers/misc/lkdtm/bugs.c:406:16");
}

#[test]
fn locks() {
    insta::assert_snapshot!(hits("lockdep"), @"Warning lockdep: WARNING: possible circular locking dependency detected");
    insta::assert_snapshot!(hits("lock-held"), @"Warning lock held: WARNING: lock held when returning to user space!");
    insta::assert_snapshot!(hits("scheduling-while-atomic"), @"
    Warning atomic sleep: BUG: scheduling while atomic: init/27/0x00000002
    Warning RCU usage: WARNING: suspicious RCU usage
    Warning atomic sleep: BUG: sleeping function called from invalid context at fs/file_table.c:452
    Warning WARNING: WARNING: CPU: 0 PID: 27 at lib/stackdepot.c:635 stack_depot_save_flags+0x60b/0xa10
    Warning atomic sleep: BUG: scheduling while atomic: init/27/0x00000000
    ");
    insta::assert_snapshot!(hits("invalid-wait-context"), @"
    Warning atomic sleep: BUG: sleeping function called from invalid context at kernel/locking/mutex.c:586
    Warning lockdep: [ BUG: Invalid wait context ]
    ");
}

#[test]
fn a_hung_task_counts_from_its_first_report_and_a_lockup_from_its_second() {
    insta::assert_snapshot!(hits("hung-task"), @"
    Warning hung task: INFO: task init:27 blocked for more than 10 seconds.
    Warning hung task: INFO: task init:27 blocked for more than 20 seconds.
    Warning hung task: INFO: task init:27 blocked for more than 30 seconds.
    ");
    insta::assert_snapshot!(hits("soft-lockup"), @"Warning soft lockup: watchdog: BUG: soft lockup - CPU#0 stuck for 51s! [init:28]");
    insta::assert_snapshot!(hits("workqueue-lockup"), @"
    Warning workqueue lockup: BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 19s!
    Warning workqueue lockup: BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 27s!
    ");
}

#[test]
fn other_architectures() {
    insta::assert_snapshot!(hits("other-architectures"), @"
    Crash page fault: Unable to handle kernel paging request at virtual address deadbeef when write
    Crash oops: Internal error: Oops: 805 [#1] SMP ARM
    Crash oops: Internal error: Oops - undefined instruction: 0 [#2] ARM
    Crash stack overflow: Insufficient stack space to handle exception!
    Crash page fault: Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008
    Crash oops: Internal error: Oops: 0000000096000044 [#1] SMP
    Crash parisc fault: Kernel Fault: Code=15 (Data TLB miss fault) at addr 00000008
    Crash parisc fault: swapper (pid 1): Unknown kernel breakpoint (code 9)
    Crash parisc fault: High Priority Machine Check (HPMC): Code=1 (High-priority machine check (HPMC)) at addr 00000000
    Crash page fault: Unable to handle kernel paging request at virtual address 00000000deadbeef
    Crash oops: client(61): Oops [#1]
    Crash oops: swapper/0(1): Kernel bad sw trap 5 [#2]
    Crash page fault: CPU 0 Unable to handle kernel paging request at virtual address 00000008, epc == 801a2b3c, ra == 801a2b10
    Crash oops: Oops[#1]:
    Crash oops: Kernel bug detected[#2]:
    Crash page fault: BUG: unable to handle kernel paging request at deadbeef
    Crash oops: Oops: 0001 [#1]
    Crash page fault: Unable to handle kernel access to user memory without uaccess routines at virtual address 0000000000000008
    Crash oops: Oops [#1]
    Crash page fault: CPU 0 Unable to handle kernel paging request at virtual address 0000000000000008, era == 9000000000223344, ra == 9000000000223300
    Crash oops: Oops[#1]:
    Crash page fault: Unable to handle kernel NULL pointer dereference at virtual address (ptrval)
    Crash oops: Oops: 00000000
    Crash oops: BAD KERNEL TRAP: 00000000
    ");
}

#[test]
fn rare_trouble() {
    insta::assert_snapshot!(hits("rare"), @r#"
    Boot initramfs: Initramfs unpacking failed: write error
    Boot init not run: Failed to execute /init (error -8)
    Boot no init: Kernel panic - not syncing: Requested init /init failed (error -8).
    Boot no init: Kernel panic - not syncing: No working init found.  Try passing init= option to kernel. See Linux Documentation/admin-guide/init.rst for guidance.
    Crash double fault: PANIC: double fault, error_code: 0x0
    Crash double fault: Oops: double fault: 0000 [#1] SMP
    Crash stack overflow: BUG: TASK stack guard page was hit at 00000000c2a5ae41 (stack is 000000005c1d2ee0..00000000a7e1b1f4)
    Warning out of memory: Out of memory (oom_kill_allocating_task): Killed process 62 (client) total-vm:9000kB, anon-rss:8000kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:40kB oom_score_adj:800
    Crash out of memory: Kernel panic - not syncing: System is deadlocked on memory
    Warning KFENCE: BUG: KFENCE: use-after-free read in fuse_dmmap_fault+0x5a/0x200
    Warning KCSAN: BUG: KCSAN: data-race in fuse_dmmap_fault / fuse_dmmap_release
    Warning KMSAN: BUG: KMSAN: uninit-value in fuse_dmmap_reply+0x31/0x180
    Warning page poison: pagealloc: memory corruption
    Warning page poison: pagealloc: single bit error
    Warning bad page: BUG: Bad page map in process client  pte:80000000deadb067 pmd:01234067
    Warning bad page: BUG: Bad page cache in process client  pfn:01234
    Warning bad counter: BUG: non-zero pgtables_bytes on freeing mm: 4096
    Warning hard lockup: watchdog: Watchdog detected hard LOCKUP on cpu 1
    Warning interrupt: irq 11: nobody cared (try booting with the "irqpoll" option)
    Warning RCU stall: rcu: INFO: rcu_sched detected stalls on CPUs/tasks:
    Warning RCU stall: rcu: INFO: rcu_sched self-detected stall on CPU
    Warning RCU stall: rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-...D } 21 jiffies s: 57 root: 0x2/.
    Warning RCU stall: INFO: rcu_tasks detected stalls on tasks:
    Warning lockdep: WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected
    Warning lockdep: WARNING: inconsistent lock state
    Warning lockdep: WARNING: bad unlock balance detected!
    Warning lock held: WARNING: client/61 still has locks held!
    Warning lockdep off: INFO: trying to register non-static key.
    Warning BUG: BUG: key ffff888000ea7c00 has not been registered!
    Warning kmemleak: kmemleak: Freeing unknown object at 0x81234568
    Warning WARNING: WARNING: fs/fuse/dmmap.c:112 at fuse_dmmap_fault+0x5a/0x200 [fuse], CPU#1: client/61
    Warning WARNING: WARNING: at fuse_dmmap_fault+0x5a/0x200, CPU#1: client/61
    Crash panic: Kernel panic - not syncing: Fatal exception in interrupt
    Crash reboot: Linux version 6.12.117 (lab@lab) (gcc (Debian 12.2.0-14+deb12u1) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP
    "#);
}

#[test]
fn every_marker_is_found_in_some_log() {
    let names = std::fs::read_dir(logs()).unwrap().map(|entry| entry.unwrap().path());
    let found: BTreeSet<&str> = names
        .flat_map(|path| scan(path.file_stem().unwrap().to_str().unwrap()))
        .map(|hit| hit.marker.pattern)
        .collect();
    let unseen = MARKERS.iter().filter(|marker| !found.contains(marker.pattern));
    let unseen: Vec<&str> = unseen.map(|marker| marker.pattern).collect();
    assert!(unseen.is_empty(), "patterns that match no line of any log: {unseen:#?}");
}

#[test]
fn each_boot_ignores_the_number_of_lines_that_the_marker_allows() {
    let line = "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [init:29]";
    let mut boot = Scanner::default();
    assert_eq!(boot.line(line), None);
    let hit = boot.line(line).unwrap();
    assert_eq!((hit.marker.name, &*hit.line), ("soft lockup", line));
    assert_eq!(Scanner::default().line(line), None);
}

#[test]
fn only_a_warning_lets_the_boot_go_on() {
    assert!(Severity::Crash.ends_boot() && Severity::Boot.ends_boot());
    assert!(!Severity::Warning.ends_boot());
}
