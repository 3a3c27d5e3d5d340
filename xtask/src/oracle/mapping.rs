// SPDX-License-Identifier: MIT OR Apache-2.0
//! Describes the page of a finding by the addresses at which it is mapped.

use std::collections::BTreeMap;

use super::line::{Access, Finding, Hex};
use oracle_wire::message::Mapping;

/// Returns a line for each mapping of the page that the accesses of a finding used, with a heading. `page` is the page
/// size in bytes. The text is empty if no mapping is known.
pub(super) fn mappings(finding: &Finding, page: u64) -> String {
    let accesses = finding.accesses().into_iter().chain([&finding.later]);
    let known = accesses.filter_map(|access| {
        let mapping = access.mapping?;
        let start = Hex(access.address.0 / page * page);
        Some(((mapping, owner(access, mapping), start.0), line(access, mapping, start)))
    });
    let lines: BTreeMap<_, String> = known.collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!(
            "\nThese accesses used the page by these mappings:\n\n{}",
            lines.into_values().collect::<String>()
        ),
    }
}

/// Returns the process whose mapping an access used.
fn owner(access: &Access, mapping: Mapping) -> String {
    match (mapping, &access.process) {
        (Mapping::Process, Some(process)) => process.to_string(),
        (Mapping::Process, None) => "a process".into(),
        (Mapping::Linear, _) => "the kernel's linear mapping".into(),
        (Mapping::Kernel, _) => "the kernel: vmalloc, kmap, a fixed mapping or a module".into(),
    }
}

fn line(access: &Access, mapping: Mapping, start: Hex) -> String {
    let colour = access.colour.map_or(String::new(), |colour| format!(", colour {colour}"));
    format!("  {start}{colour}: {}\n", owner(access, mapping))
}

#[cfg(test)]
mod tests {
    use oracle_wire::message::Process;

    use super::super::line::tests::finding;
    use super::*;

    #[test]
    fn each_mapping_is_listed_once() {
        let mut found = finding(16, 1);
        assert_eq!(mappings(&found, 4096), "");
        let process = Some(Process { id: Some(12), name: "cat".into() });
        let mut clear = found.story[0].clone();
        clear.mapping = Some(Mapping::Linear);
        let mut again = clear.clone();
        again.address = Hex(clear.address.0 + 4);
        found.earlier.mapping = Some(Mapping::Process);
        found.earlier.process = process;
        found.later.mapping = Some(Mapping::Process);
        let mut other = found.later.clone();
        other.mapping = Some(Mapping::Kernel);
        other.address = Hex(0xffc0_1020);
        other.colour = None;
        found.story = vec![clear, again, other, found.earlier.clone(), found.later.clone()];
        insta::assert_snapshot!(mappings(&found, 4096), @"
        These accesses used the page by these mappings:

          0x40012000, colour 2: a process
          0x40013000, colour 3: cat[12]
          0xc4c3f000, colour 3: the kernel's linear mapping
          0xffc01000: the kernel: vmalloc, kmap, a fixed mapping or a module
        ");
    }
}
