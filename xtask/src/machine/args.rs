// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's arguments, built by pure functions and tested as text.

use std::path::Path;

use crate::results::Accelerator;
use crate::run_dir::{CONSOLE, GDB_SOCKET, ORACLE_CONFIG, RECORDS};
use crate::target::QemuSpec;

/// Destination of the kernel's console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Console {
    /// The file [`CONSOLE`]. A kernel crash ends the machine.
    Log,
    /// The terminal that QEMU was started from; Ctrl-A c opens QEMU's monitor. After a kernel crash, the machine keeps
    /// running so that the user can examine it.
    Terminal,
}

/// Parameters of one boot that do not come from the target.
#[derive(Clone, Debug)]
pub(crate) struct Boot<'a> {
    pub accel: Accelerator,
    pub kernel: &'a Path,
    /// Device tree; `None` if QEMU generates one or the machine needs none.
    pub dtb: Option<&'a Path>,
    pub initrd: &'a Path,
    pub console: Console,
    /// Starts the machine stopped, with a gdb stub on [`GDB_SOCKET`].
    pub gdb: bool,
    /// Plugin of the oracle, which reads [`ORACLE_CONFIG`]; `None` to run without the oracle.
    pub oracle: Option<&'a Path>,
}

/// Returns QEMU's arguments, without the program name. Relative paths are relative to the boot's directory.
pub(crate) fn qemu(spec: &QemuSpec, boot: &Boot) -> Vec<String> {
    let mut args = Args::default();
    args.pair("-machine", &spec.machine);
    args.pair("-accel", boot.accel);
    if let Some(cpu) = &spec.cpu {
        args.pair("-cpu", cpu);
    }
    args.pair("-smp", spec.cpus);
    args.pair("-m", format!("{}M", spec.memory_mib));
    args.0.extend(spec.args.iter().cloned());
    args.pair("-display", "none");
    // Every guest ends its run with a restart: some machines cannot power off.
    args.0.push("-no-reboot".into());
    match boot.console {
        Console::Log => args.pair("-chardev", format!("file,id=console,path={CONSOLE}")),
        Console::Terminal => {
            // Ctrl-C goes to the guest; Ctrl-A x ends QEMU.
            args.pair("-chardev", "stdio,id=console,mux=on,signal=off");
            args.pair("-mon", "chardev=console,mode=readline");
        }
    }
    args.pair("-serial", "chardev:console");
    if !spec.records_args.is_empty() {
        args.pair("-chardev", format!("file,id=records,path={RECORDS}"));
        args.0.extend(spec.records_args.iter().cloned());
    }
    if boot.gdb {
        args.pair("-chardev", format!("socket,id=gdb,path={GDB_SOCKET},server=on,wait=off"));
        args.pair("-gdb", "chardev:gdb");
        args.0.push("-S".into());
    }
    if let Some(plugin) = boot.oracle {
        // QEMU reads a doubled comma as a part of the path. A single comma would end the path.
        let plugin = plugin.display().to_string().replace(',', ",,");
        args.pair("-plugin", format!("{plugin},config={ORACLE_CONFIG}"));
    }
    args.pair("-kernel", boot.kernel.display());
    if let Some(dtb) = boot.dtb {
        args.pair("-dtb", dtb.display());
    }
    args.pair("-initrd", boot.initrd.display());
    args.pair("-append", kernel_command_line(spec, boot));
    args.0
}

fn kernel_command_line(spec: &QemuSpec, boot: &Boot) -> String {
    let mut words = vec![format!("console={}", spec.console)];
    if boot.console == Console::Log {
        // With these, a crash ends the machine immediately: the oops becomes a panic, the panic a restart, and
        // -no-reboot turns the restart into QEMU's exit.
        words.extend(["oops=panic".into(), "panic=-1".into()]);
    }
    if boot.gdb {
        // With address randomisation, breakpoints would miss the code.
        words.push("nokaslr".into());
    }
    words.push(format!("dmmap.records={}", spec.records));
    if boot.oracle.is_some() {
        // Makes the guest mark the window of each case for the oracle.
        words.push("dmmap.oracle=1".into());
    }
    words.extend(spec.append.iter().cloned());
    words.join(" ")
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn pair(&mut self, option: &str, value: impl ToString) {
        self.0.extend([option.to_owned(), value.to_string()]);
    }
}

/// Returns the command in a form that can be pasted into a shell, with one option per line.
pub(crate) fn to_paste(dir: &Path, binary: &str, args: &[String]) -> String {
    let mut text = format!("cd {} &&\n{}", quote(&dir.display().to_string()), quote(binary));
    for arg in args {
        text += if arg.starts_with('-') { " \\\n  " } else { " " };
        text += &quote(arg);
    }
    text + "\n"
}

/// Quotes `word` for a shell, if necessary.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(console: Console, gdb: bool) -> String {
        with_oracle(console, gdb, None)
    }

    fn with_oracle(console: Console, gdb: bool, oracle: Option<&Path>) -> String {
        let boot = Boot {
            accel: Accelerator::Tcg,
            kernel: Path::new("/cache/kernels/1f/bzImage"),
            dtb: None,
            initrd: Path::new("initramfs.cpio"),
            console,
            gdb,
            oracle,
        };
        let spec = crate::target::tests::x86_64().qemu;
        to_paste(Path::new("/runs/it's here"), &spec.binary, &qemu(&spec, &boot))
    }

    #[test]
    fn a_boot_that_writes_a_log() {
        insta::assert_snapshot!(text(Console::Log, false), @r"
        cd '/runs/it'\''s here' &&
        qemu-system-x86_64 \
          -machine q35 \
          -accel tcg \
          -cpu Nehalem \
          -smp 2 \
          -m 1024M \
          -nodefaults \
          -no-user-config \
          -display none \
          -no-reboot \
          -chardev file,id=console,path=console.log \
          -serial chardev:console \
          -chardev file,id=records,path=records.log \
          -serial chardev:records \
          -kernel /cache/kernels/1f/bzImage \
          -initrd initramfs.cpio \
          -append 'console=ttyS0,115200 oops=panic panic=-1 dmmap.records=/dev/ttyS1'
        ");
    }

    #[test]
    fn a_boot_under_the_oracle() {
        let plugin = Path::new("/check,out/liboracle.so");
        let text = with_oracle(Console::Log, false, Some(plugin));
        let without = self::text(Console::Log, false);
        let more = text.lines().filter(|line| !without.contains(line));
        let more: Vec<_> = more.collect();
        insta::assert_snapshot!(more.join("\n"), @r"
        -plugin /check,,out/liboracle.so,config=oracle.json \
        -append 'console=ttyS0,115200 oops=panic panic=-1 dmmap.records=/dev/ttyS1 dmmap.oracle=1'
        ");
    }

    #[test]
    fn a_boot_at_a_terminal_with_gdb() {
        insta::assert_snapshot!(text(Console::Terminal, true), @r"
        cd '/runs/it'\''s here' &&
        qemu-system-x86_64 \
          -machine q35 \
          -accel tcg \
          -cpu Nehalem \
          -smp 2 \
          -m 1024M \
          -nodefaults \
          -no-user-config \
          -display none \
          -no-reboot \
          -chardev stdio,id=console,mux=on,signal=off \
          -mon chardev=console,mode=readline \
          -serial chardev:console \
          -chardev file,id=records,path=records.log \
          -serial chardev:records \
          -chardev socket,id=gdb,path=gdb.sock,server=on,wait=off \
          -gdb chardev:gdb \
          -S \
          -kernel /cache/kernels/1f/bzImage \
          -initrd initramfs.cpio \
          -append 'console=ttyS0,115200 nokaslr dmmap.records=/dev/ttyS1'
        ");
    }
}
