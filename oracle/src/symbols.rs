// SPDX-License-Identifier: GPL-2.0-or-later
//! The kernel's symbols, from its `System.map`.

use std::ops::Range;

/// Symbols of a kernel, sorted by address.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    by_address: Vec<(u64, String)>,
    /// Addresses of the kernel's image: from `_text` or `_start`, whichever is lower, to `_end`.
    image: Option<Range<u64>>,
}

impl Symbols {
    /// Parses lines of the form `ADDRESS KIND NAME`, as printed by nm(1). Skips other lines.
    pub fn parse(text: &str) -> Symbols {
        let symbol = |line: &str| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((address, words.nth(1)?.to_owned()))
        };
        let mut by_address: Vec<_> = text.lines().filter_map(symbol).collect();
        by_address.sort_by_key(|(address, _)| *address);
        let mut symbols = Symbols { by_address, image: None };
        let start = symbols.address("_text").into_iter().chain(symbols.address("_start")).min();
        symbols.image = start.zip(symbols.address("_end")).map(|(start, end)| start..end);
        symbols
    }

    /// Returns the address of a symbol.
    pub fn address(&self, name: &str) -> Option<u64> {
        let mut symbols = self.by_address.iter();
        symbols.find(|(_, known)| known == name).map(|(address, _)| *address)
    }

    /// Returns the address of the first symbol whose name is `name`, alone or before a suffix such as `.isra.0`.
    pub fn address_of_prefix(&self, name: &str) -> Option<u64> {
        let is = |known: &str| {
            known.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let mut symbols = self.by_address.iter();
        symbols.find(|(_, known)| is(known)).map(|(address, _)| *address)
    }

    /// Returns the addresses of the kernel's image.
    pub fn image(&self) -> Option<Range<u64>> {
        self.image.clone()
    }

    /// Returns `address` relative to the last symbol at or before it, such as `clear_page+0x10`.
    pub fn name(&self, address: u64) -> Option<String> {
        let (name, offset) = self.function(address)?;
        Some(match offset {
            0 => name.to_owned(),
            offset => format!("{name}+{offset:#x}"),
        })
    }

    /// Returns the last symbol at or before `address`, and the offset of `address` from it.
    pub fn function(&self, address: u64) -> Option<(&str, u64)> {
        if !self.image.as_ref()?.contains(&address) {
            return None;
        }
        let next = self.by_address.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.by_address.get(next.checked_sub(1)?)?;
        Some((name, address - start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_named_after_the_preceding_symbol() {
        let map =
            "c0008000 T _text\nc0008100 t copy\nnonsense\nc0008200 T clear_page\nc0009000 B _end\n";
        let symbols = Symbols::parse(map);
        let name = |address| symbols.name(address).unwrap_or("-".into());
        assert_eq!(name(0xc000_8100), "copy");
        assert_eq!(name(0xc000_81fc), "copy+0xfc");
        assert_eq!(name(0xc000_8204), "clear_page+0x4");
        assert_eq!((name(0xc000_7fff), name(0xc000_9000)), ("-".into(), "-".into()));
        assert_eq!(symbols.address("clear_page"), Some(0xc000_8200));
        assert_eq!(Symbols::default().name(0), None);
    }
}
