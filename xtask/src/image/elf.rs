// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks that a program can run in the guest: that it was built for the machine, and needs no shared libraries.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::{files, shell};

/// Values of `e_machine` in an ELF header, with their names as `readelf -h` prints them (elf.h).
const MACHINES: [(u16, &str); 12] = [
    (2, "SPARC"),
    (3, "Intel 80386"),
    (8, "MIPS"),
    (15, "PA-RISC"),
    (20, "PowerPC"),
    (21, "PowerPC64"),
    (40, "ARM"),
    (43, "SPARC V9"),
    (62, "x86-64"),
    (183, "AArch64"),
    (243, "RISC-V"),
    (258, "LoongArch"),
];

/// Type of a program header that names the dynamic linker.
const PT_INTERP: u32 = 3;

/// Machine that an ELF file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `e_machine`.
    number: u16,
    bits: u8,
    little_endian: bool,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MACHINES.iter().find(|(number, _)| *number == self.number) {
            Some((_, name)) => f.write_str(name)?,
            None => write!(f, "ELF machine {}", self.number)?,
        }
        let order = if self.little_endian { "little-endian" } else { "big-endian" };
        write!(f, " ({} bit, {order})", self.bits)
    }
}

impl Machine {
    /// Returns the machine that the C compiler with the prefix `cross` builds programs for: that of the file with which
    /// it begins each program.
    ///
    /// # Errors
    /// The compiler is missing, or has no C library.
    pub(crate) fn of_compiler(cross: &str) -> Result<Self> {
        let sh = shell::here()?;
        let gcc = format!("{cross}gcc");
        let start = shell::read(cmd!(sh, "{gcc} -print-file-name=crt1.o"))?;
        let bytes = files::read_bytes(Path::new(start.trim()))?;
        let (machine, _) = parse(&bytes).with_context(|| format!("{start} is not an ELF file"))?;
        Ok(machine)
    }
}

/// Returns the machine of an ELF file, and the path of the dynamic linker if the file is dynamically linked. Returns `None`
/// for a file that is not an ELF file.
fn parse(bytes: &[u8]) -> Option<(Machine, Option<String>)> {
    let file = Elf { bytes, wide: *bytes.get(4)? == 2, little_endian: *bytes.get(5)? == 1 };
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let machine = Machine {
        number: file.number(18, 2)? as u16,
        bits: if file.wide { 64 } else { 32 },
        little_endian: file.little_endian,
    };
    Some((machine, file.interpreter()))
}

/// An ELF file. The offsets of the fields are those of elf(5).
struct Elf<'b> {
    bytes: &'b [u8],
    /// True for the 64-bit format.
    wide: bool,
    little_endian: bool,
}

impl Elf<'_> {
    /// Returns the number of `size` bytes at `offset`.
    fn number(&self, offset: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(offset..offset.checked_add(size)?)?.iter();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.little_endian { bytes.rev().fold(0, add) } else { bytes.fold(0, add) })
    }

    /// Returns the path in the program header PT_INTERP.
    fn interpreter(&self) -> Option<String> {
        let [table, entry_size, count] = match self.wide {
            true => [self.number(32, 8)?, self.number(54, 2)?, self.number(56, 2)?],
            false => [self.number(28, 4)?, self.number(42, 2)?, self.number(44, 2)?],
        };
        let mut headers =
            (0..count).filter_map(|index| Some(table.checked_add(index * entry_size)? as usize));
        let header = headers.find(|at| self.number(*at, 4) == Some(PT_INTERP.into()))?;
        let (offset, size) = match self.wide {
            true => (self.number(header + 8, 8)?, self.number(header + 32, 8)?),
            false => (self.number(header + 4, 4)?, self.number(header + 16, 4)?),
        };
        let path = self.bytes.get(offset as usize..offset.checked_add(size)? as usize)?;
        Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned())
    }
}

/// Returns true if the file is a script, which names its interpreter in its first line.
pub(crate) fn is_script(bytes: &[u8]) -> bool {
    bytes.starts_with(b"#!")
}

/// Checks that the program `bytes`, which was read from `path`, can run on `target`, whose programs are for `machine`.
/// `cross` is the prefix of the target's C compiler. A script can always run.
///
/// # Errors
/// The file is not a program, is for another machine, or is dynamically linked. The error says what to do.
pub(crate) fn check(
    bytes: &[u8],
    path: &Path,
    target: &str,
    machine: Machine,
    cross: &str,
) -> Result<()> {
    if is_script(bytes) {
        return Ok(());
    }
    let path = path.display();
    let Some((found, interpreter)) = parse(bytes) else {
        bail!("{path}: neither an ELF program nor a script that begins with `#!`");
    };
    if found != machine {
        bail!(
            "{path}: the program is for {found}, but {target} needs {machine}; build it with `{cross}gcc -static`, or let \
             the lab build it: --c FILE..."
        );
    }
    if let Some(interpreter) = interpreter {
        bail!(
            "{path}: the program is dynamically linked, and the guest does not have {interpreter}; link it with -static, or \
             let the lab build it: --c FILE..."
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an ELF file with one program header, of the type `kind`.
    fn elf(machine: Machine, kind: u32, content: &[u8]) -> Vec<u8> {
        let wide = machine.bits == 64;
        let (header, entry) = if wide { (64, 56) } else { (52, 32) };
        let mut bytes = vec![0; header + entry];
        bytes[..6].copy_from_slice(&[
            0x7f,
            b'E',
            b'L',
            b'F',
            1 + wide as u8,
            2 - machine.little_endian as u8,
        ]);
        let mut put = |at: usize, size: usize, value: usize| {
            let value = value.to_be_bytes();
            let value = value[value.len() - size..].iter().copied();
            let value: Vec<u8> =
                if machine.little_endian { value.rev().collect() } else { value.collect() };
            bytes[at..at + size].copy_from_slice(&value);
        };
        put(18, 2, machine.number.into());
        let places = if wide { [32, 54, 56, 8, 32] } else { [28, 42, 44, 4, 16] };
        let size = if wide { 8 } else { 4 };
        put(places[0], size, header);
        put(places[1], 2, entry);
        put(places[2], 2, 1);
        put(header, 4, kind as usize);
        put(header + places[3], size, header + entry);
        put(header + places[4], size, content.len());
        bytes.extend(content);
        bytes
    }

    const ARM: Machine = Machine { number: 40, bits: 32, little_endian: true };
    const SPARC: Machine = Machine { number: 43, bits: 64, little_endian: false };

    fn checked(bytes: &[u8]) -> String {
        match check(bytes, Path::new("./prog"), "armv6", ARM, "arm-linux-gnueabi-") {
            Ok(()) => "can run".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_header_is_read_in_each_format() {
        for machine in [ARM, SPARC, Machine { bits: 32, ..SPARC }, Machine { bits: 64, ..ARM }] {
            assert_eq!(parse(&elf(machine, 1, b"")), Some((machine, None)));
            let linker = Some("/lib/ld.so.1".to_owned());
            assert_eq!(parse(&elf(machine, PT_INTERP, b"/lib/ld.so.1\0")), Some((machine, linker)));
        }
    }

    #[test]
    fn a_truncated_file_is_never_a_program() {
        let whole = elf(ARM, PT_INTERP, b"/lib/ld.so.1\0");
        for length in 0..20 {
            assert_eq!(parse(&whole[..length]), None, "{length} bytes");
        }
        for length in 20..whole.len() {
            assert_eq!(parse(&whole[..length]), Some((ARM, None)), "{length} bytes");
        }
    }

    #[test]
    fn a_program_that_cannot_run_has_a_remedy() {
        assert_eq!(checked(&elf(ARM, 1, b"")), "can run");
        assert_eq!(checked(b"#!/bin/sh\n"), "can run");
        insta::assert_snapshot!(checked(&elf(SPARC, 1, b"")), @"./prog: the program is for SPARC V9 (64 bit, big-endian), but armv6 needs ARM (32 bit, little-endian); build it with `arm-linux-gnueabi-gcc -static`, or let the lab build it: --c FILE...");
        insta::assert_snapshot!(checked(&elf(ARM, PT_INTERP, b"/lib/ld-linux.so.3\0")), @"./prog: the program is dynamically linked, and the guest does not have /lib/ld-linux.so.3; link it with -static, or let the lab build it: --c FILE...");
        insta::assert_snapshot!(checked(b"hello"), @"./prog: neither an ELF program nor a script that begins with `#!`");
        let unknown = Machine { number: 4711, ..ARM };
        assert!(checked(&elf(unknown, 1, b"")).contains("ELF machine 4711 (32 bit"));
    }

    #[test]
    fn the_compiler_of_the_host_builds_for_the_host() {
        let this = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(Machine::of_compiler("").unwrap(), parse(&this).unwrap().0);
    }
}
