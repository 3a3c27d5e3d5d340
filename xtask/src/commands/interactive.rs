// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask boot` and `cargo xtask gdb`: a machine that the user controls.

use std::path::Path;

use anyhow::{Context, Result};
use protocol::plan::Mode;

use super::build_with_bar;
use super::only;
use crate::boot::plan_of;
use crate::cli::Interactive;
use crate::machine::accel;
use crate::machine::args::{self, Boot, Console};
use crate::oracle::OracleRequest;
use crate::output::{errln, out};
use crate::paths::Latest;
use crate::plan::{self, Filter};
use crate::results::Accelerator;
use crate::run_dir::{GDB_SOCKET, INITRAMFS};
use crate::suite::SuiteProgram;
use crate::tree::{Tree, ensure, job};
use crate::{files, guard, kernel, paths, run};

/// Purpose of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Shell in the guest.
    Shell,
    /// Kernel under gdb.
    Gdb,
}

/// Builds the kernel and the initramfs, and runs QEMU in the foreground, at the terminal.
pub(super) fn run(args: &Interactive, kind: Kind) -> Result<u8> {
    let tree = Tree::load()?;
    let (targets, flavour) = tree.select(&args.machine)?;
    let one_machine = "the terminal can show only one machine";
    let target = only(&targets, "--arch", "targets", one_machine)?;
    let kernels = tree.kernels(&args.machine)?;
    let kernel_from = only(&kernels, "--kernel", "versions", one_machine)?;
    let name = kernel_from.name_on(target);
    let qemu = run::scaled(&target.qemu, &flavour);
    let gdb = kind == Kind::Gdb;
    let latest = if gdb { Latest::Gdb } else { Latest::Boot };
    let command = |dir: &Path, accel: Accelerator, image: &Path, dtb: Option<&Path>| {
        let boot = Boot {
            accel,
            kernel: image,
            dtb,
            initrd: Path::new(INITRAMFS),
            console: Console::Terminal,
            gdb,
            oracle: None,
        };
        let args = args::qemu(&qemu, &boot);
        (args::to_paste(dir, &qemu.binary, &args), args)
    };
    if args.dry_run {
        let dir = paths::latest(&tree.checkout, latest).join(&name);
        let (image, dtb) = kernel::planned_paths(&paths::cache()?, &target.kernel);
        let (paste, _) = command(&dir, args.accel.planned(), &image, dtb.as_deref());
        out!("{paste}");
        return Ok(0);
    }

    ensure(&targets, &args.machine, OracleRequest::OFF)?;
    let run_dir = paths::new_run(&tree.checkout, false)?;
    let dir = run_dir.join(&name);
    files::create_dir(&dir)?;
    paths::point(&tree.checkout, latest, &run_dir)?;
    let job = job(&tree, &args.machine, flavour, args.accel, 1.0, run_dir)?;
    let built = build_with_bar(&job, target, kernel_from)?;
    // The plan has all cases, so that the user can run any of them in the shell by name.
    let everything = Filter {
        suites: tree.suites.iter().map(|suite| suite.suite.clone()).collect(),
        ..Filter::default()
    };
    let mut cases =
        plan::compile(&tree.suites, target, None, &Default::default(), &everything, job.scale)?;
    // A shell must not depend on the network, from which the source of libfuse comes.
    cases.retain(|case| !case.program.as_ref().is_some_and(SuiteProgram::uses_libfuse));
    let image = job.image(target, &built, &cases, &mut |line| errln!("{line}"))?;
    let plan = plan_of(Mode::Shell, &cases);
    image.write(&plan, &dir.join(INITRAMFS))?;
    let chosen = accel::probe(&qemu.binary, &target.kernel.arch, args.accel, &job.cache)?;

    let (paste, qemu_args) = command(&dir, chosen.accel, &built.image, built.dtb.as_deref());
    errln!("{}", paste.trim_end());
    if gdb {
        errln!("\nThe machine is waiting for gdb. Run in another terminal:\n");
        errln!("{}", gdb_line(&built.vmlinux, &dir.join(GDB_SOCKET)));
    }
    errln!("Ctrl-A x ends QEMU, Ctrl-A c opens its monitor.\n");
    let ended = guard::foreground_command(&qemu.binary, qemu_args)
        .dir(&dir)
        .run()
        .with_context(|| format!("start {}", qemu.binary))?;
    Ok(if ended.status.success() { 0 } else { 2 })
}

/// Returns the command that attaches gdb to the machine.
fn gdb_line(vmlinux: &Path, socket: &Path) -> String {
    format!(
        "gdb {} -ex 'target remote {}' -ex 'hbreak start_kernel' -ex continue\n",
        vmlinux.display(),
        socket.display()
    )
}
