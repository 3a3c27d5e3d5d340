// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of functions that the plugin does not know, from the guest's `/proc/kallsyms`: those of modules, and all of a
//! kernel without a `System.map`.

use oracle_wire::config::Arch;
pub(crate) use protocol::kallsyms::FILE;

use super::line::{Access, By, Finding};

/// Maximum distance of an instruction from the start of its function, in bytes. The last function before a gap between
/// the kernel and its modules does not extend over the gap.
const LONGEST: u64 = 1 << 20;

/// Functions of the kernel and of its modules, sorted by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kallsyms(Vec<(u64, String)>);

impl Kallsyms {
    /// Parses lines of the form `ADDRESS KIND NAME`, with `[MODULE]` after the names of a module. Skips data, and
    /// addresses of 0, which the kernel shows to readers without privileges.
    pub(crate) fn parse(text: &str) -> Self {
        let symbol = |line: &str| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let is_code = matches!(words.next()?, "t" | "T" | "w" | "W");
            (is_code && address != 0).then_some((address, words.next()?.to_owned()))
        };
        let mut symbols: Vec<_> = text.lines().filter_map(symbol).collect();
        symbols.sort();
        Self(symbols)
    }

    /// Returns an address as `function+offset`.
    fn name(&self, address: u64) -> Option<String> {
        let next = self.0.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.0.get(next.checked_sub(1)?)?;
        match address - start {
            0 => Some(name.clone()),
            offset if offset < LONGEST => Some(format!("{name}+{offset:#x}")),
            _ => None,
        }
    }

    /// Adds the names that a finding lacks, on a machine of `arch`.
    pub(crate) fn complete(&self, finding: &mut Finding, arch: Arch) {
        if self.0.is_empty() {
            return;
        }
        let accesses = finding.story.iter_mut();
        for access in accesses.chain([&mut finding.earlier, &mut finding.later]) {
            self.complete_access(access, arch);
        }
    }

    fn complete_access(&self, access: &mut Access, arch: Arch) {
        if access.by == By::Process {
            return;
        }
        let (pc, symbol) = (access.pc, &mut access.symbol);
        let callers = access.callers.iter_mut().map(|caller| (caller.pc, &mut caller.symbol));
        for (pc, symbol) in std::iter::once((pc, symbol)).chain(callers) {
            if symbol.is_none() {
                *symbol = self.name(pc.0);
            }
        }
        access.culprit = access.find_culprit(arch).map(str::to_owned);
    }
}

#[cfg(test)]
mod tests {
    use oracle_wire::message::Frame;

    use super::super::line::Hex;
    use super::super::line::tests::finding;
    use super::*;

    const TEXT: &str = "c0008000 T _text\nc0010000 t memcpy\nc0020000 d data\nbf000000 t fuse_copy_one\t[fuse]\n\
                        00000000 t hidden\nbf000100 t fuse_dev_read\t[fuse]\n";

    #[test]
    fn functions_of_modules_get_names_and_can_be_culprits() {
        let mut finding = finding(16, 1);
        finding.later.by = By::Kernel;
        finding.later.pc = Hex(0xc001_0040);
        let calls = [0xbf00_0010, 0xbf00_0110, 0xd000_0000];
        let frame = |pc: u64| Frame { pc: Hex(pc), symbol: None };
        finding.later.callers = calls.map(frame).into();
        let kallsyms = Kallsyms::parse(TEXT);
        kallsyms.complete(&mut finding, Arch::Arm);
        let later = &finding.later;
        assert_eq!(later.symbol.as_deref(), Some("memcpy+0x40"));
        assert_eq!(later.culprit.as_deref(), Some("fuse_copy_one"));
        let names: Vec<_> = later.callers.iter().map(|caller| caller.symbol.as_deref()).collect();
        assert_eq!(names, [Some("fuse_copy_one+0x10"), Some("fuse_dev_read+0x10"), None]);
        // A process has no functions of the kernel, and names that the plugin knows stay.
        assert_eq!((&finding.earlier.symbol, &finding.earlier.culprit), (&None, &None));
        assert_eq!(finding.story[0].symbol.as_deref(), Some("clear_page+0x10"));
        assert_eq!(kallsyms.name(0xc030_0000), None);
    }
}
