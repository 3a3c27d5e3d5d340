// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's arguments. Pure: what QEMU reads is tested as text.

use std::path::Path;

use crate::run_dir::{CONSOLE, GDB_SOCKET, ORACLE_CONFIG, RECORDS};
use crate::target::{Ends, QemuSpec};

/// Whom the console belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Console {
    /// The lab: it goes to [`CONSOLE`], and a crash ends the machine.
    Log,
    /// A person: it is the terminal QEMU was started from, with QEMU's monitor behind Ctrl-A c; a crash waits to be looked at.
    Terminal,
}

/// What is particular to one start of a machine.
#[derive(Clone, Debug)]
pub(crate) struct Boot<'a> {
    /// `kvm` or `tcg`.
    pub accel: &'a str,
    /// The kernel image.
    pub kernel: &'a Path,
    /// The device tree, where the machine has none of its own.
    pub dtb: Option<&'a Path>,
    /// The initramfs.
    pub initrd: &'a Path,
    /// Whom the console belongs to.
    pub console: Console,
    /// Start stopped, with a gdb stub on [`GDB_SOCKET`].
    pub gdb: bool,
    /// The oracle's plugin, which reads [`ORACLE_CONFIG`]; none where it does not watch.
    pub oracle: Option<&'a Path>,
}

/// The arguments of QEMU, without the program. Relative paths are relative to the directory of the boot.
pub(crate) fn qemu(spec: &QemuSpec, boot: &Boot) -> Vec<String> {
    let mut args = Args::default();
    args.pair("-machine", &spec.machine);
    args.pair("-accel", boot.accel);
    args.pair("-cpu", &spec.cpu);
    args.pair("-smp", spec.cpus);
    args.pair("-m", format!("{}M", spec.memory_mib));
    args.0.extend(spec.args.iter().cloned());
    args.pair("-display", "none");
    match spec.ends {
        Ends::Reset => args.0.push("-no-reboot".into()),
    }
    match boot.console {
        Console::Log => args.pair("-chardev", format!("file,id=console,path={CONSOLE}")),
        Console::Terminal => {
            // Ctrl-C belongs to the guest; the way out is Ctrl-A x.
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
        args.pair(
            "-chardev",
            format!("socket,id=gdb,path={GDB_SOCKET},server=on,wait=off"),
        );
        args.pair("-gdb", "chardev:gdb");
        args.0.push("-S".into());
    }
    if let Some(plugin) = boot.oracle {
        // A comma would end the path.
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

/// The kernel's command line.
fn kernel_command_line(spec: &QemuSpec, boot: &Boot) -> String {
    let mut words = vec![format!("console={}", spec.console)];
    if boot.console == Console::Log {
        // A crash ends the machine at once: oops, then panic, then restart, then -no-reboot.
        words.extend(["oops=panic".into(), "panic=-1".into()]);
    }
    if boot.gdb {
        // Or breakpoints land beside the code.
        words.push("nokaslr".into());
    }
    words.push(format!("dmmap.records={}", spec.records));
    if boot.oracle.is_some() {
        // The guest marks which accesses are whose.
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

/// The command as a person pastes it into a shell: one option a line, quoted where a shell asks for it.
pub(crate) fn to_paste(dir: &Path, binary: &str, args: &[String]) -> String {
    let mut text = format!(
        "cd {} &&\n{}",
        quote(&dir.display().to_string()),
        quote(binary)
    );
    for arg in args {
        text += if arg.starts_with('-') { " \\\n  " } else { " " };
        text += &quote(arg);
    }
    text + "\n"
}

/// `word` as a shell reads it back.
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
        watched(console, gdb, None)
    }

    fn watched(console: Console, gdb: bool, oracle: Option<&Path>) -> String {
        let boot = Boot {
            accel: "tcg",
            kernel: Path::new("/cache/kernels/1f/bzImage"),
            dtb: None,
            initrd: Path::new("initramfs.cpio"),
            console,
            gdb,
            oracle,
        };
        let spec = crate::target::tests::x86_64().qemu;
        to_paste(
            Path::new("/runs/it's here"),
            &spec.binary,
            &qemu(&spec, &boot),
        )
    }

    #[test]
    fn a_boot_that_is_watched() {
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
        let text = watched(Console::Log, false, Some(plugin));
        let without = self::text(Console::Log, false);
        let more = text.lines().filter(|line| !without.contains(line));
        let more: Vec<_> = more.collect();
        insta::assert_snapshot!(more.join("\n"), @r"
        -plugin /check,,out/liboracle.so,config=oracle.json \
        -append 'console=ttyS0,115200 oops=panic panic=-1 dmmap.records=/dev/ttyS1 dmmap.oracle=1'
        ");
    }

    #[test]
    fn a_boot_for_a_person() {
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
