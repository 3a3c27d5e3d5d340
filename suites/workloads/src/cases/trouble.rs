// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deliberate failures, with which the lab tests itself.

use std::time::Duration;

use sys::{Mapping, Prot, append_file, page_size, sleep, write_file};

use crate::stage::{Case, Failure, Workload, expect};

pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("fail", fail),
    ("skip", skip),
    ("panic", panic),
    ("silent-exit", silent_exit),
    ("segfault", segfault),
    ("stuck", stuck),
    ("chatter", chatter),
    ("kernel-panic", kernel_panic),
    ("out-of-memory", out_of_memory),
    ("warning", warning),
    ("taint", taint),
    ("leak", leak),
];

fn fail(_: &mut Case) -> Result<(), Failure> {
    expect("1 + 1", 1 + 1, 3u32)
}

fn skip(_: &mut Case) -> Result<(), Failure> {
    Err(Failure::Skip("skipped on purpose".into()))
}

/// The process of the case panics after it has printed a line.
fn panic(case: &mut Case) -> Result<(), Failure> {
    case.log("a line before the panic");
    panic!("on purpose");
}

/// The process of the case exits with status 0 and reports no result.
fn silent_exit(case: &mut Case) -> Result<(), Failure> {
    case.log("a line before the end");
    sys::exit(0)
}

/// A client dies of SIGSEGV.
fn segfault(case: &mut Case) -> Result<(), Failure> {
    let server = case.serve()?;
    let mut client = case.client("client", &server)?;
    client.segfault()
}

/// The case does not end before its deadline.
fn stuck(case: &mut Case) -> Result<(), Failure> {
    case.log("a line before the case hangs");
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// The case passes, but prints far more than the lab forwards.
fn chatter(case: &mut Case) -> Result<(), Failure> {
    let lines: u32 = case.param("lines")?;
    for number in 0..lines {
        case.log(&format!("line {number}"));
    }
    case.log(&"long ".repeat(100_000));
    Ok(())
}

/// The kernel panics.
fn kernel_panic(_: &mut Case) -> Result<(), Failure> {
    write_file("/proc/sysrq-trigger", b"c")?;
    Err(Failure::new("the kernel survived sysrq c"))
}

/// The case allocates all memory, until the kernel kills it.
fn out_of_memory(_: &mut Case) -> Result<(), Failure> {
    const STEP: usize = 16 << 20;
    let mut all = Vec::new();
    loop {
        let memory = Mapping::anonymous(STEP, Prot::ReadWrite)?;
        for at in (0..STEP).step_by(page_size()) {
            memory.store::<u8>(at, 1);
        }
        all.push(memory);
    }
}

/// The console shows a line that looks like a kernel warning.
fn warning(_: &mut Case) -> Result<(), Failure> {
    let line = "<4>WARNING: CPU: 0 PID: 1 at fs/fuse/dmmap.c:1 on_purpose+0x0/0x10\n";
    Ok(append_file("/dev/kmsg", line.as_bytes())?)
}

/// The kernel has the taint flag that a warning sets.
fn taint(_: &mut Case) -> Result<(), Failure> {
    // Bit 9: "kernel issued warning" (Documentation/admin-guide/tainted-kernels.rst). A write adds bits.
    Ok(write_file("/proc/sys/kernel/tainted", b"512")?)
}

/// A file in tmpfs still uses memory after all processes of the case have ended.
fn leak(case: &mut Case) -> Result<(), Failure> {
    let mib: usize = case.param("mib")?;
    Ok(write_file("/tmp/leak", &vec![1; mib << 20])?)
}
