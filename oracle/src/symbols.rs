// SPDX-License-Identifier: GPL-2.0-or-later
//! Names for places in the kernel, from its `System.map`.

use std::ops::Range;

/// The symbols of a kernel, by address.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    by_address: Vec<(u64, String)>,
}

impl Symbols {
    /// Reads lines of `ADDRESS KIND NAME`, as nm(1) prints them; others are passed over.
    pub fn parse(text: &str) -> Symbols {
        let symbol = |line: &str| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((address, words.nth(1)?.to_owned()))
        };
        let mut by_address: Vec<_> = text.lines().filter_map(symbol).collect();
        by_address.sort_by_key(|(address, _)| *address);
        Symbols { by_address }
    }

    /// Where the symbol is.
    pub fn address(&self, name: &str) -> Option<u64> {
        let mut symbols = self.by_address.iter();
        symbols
            .find(|(_, known)| known == name)
            .map(|(address, _)| *address)
    }

    /// From `_text`, or `_start` where that is first, to `_end`: the kernel's image.
    pub fn image(&self) -> Option<Range<u64>> {
        let start = self
            .address("_text")
            .into_iter()
            .chain(self.address("_start"));
        Some(start.min()?..self.address("_end")?)
    }

    /// The last symbol at or before `address` and how far behind it that is, as `clear_page+0x10`.
    pub fn name(&self, address: u64) -> Option<String> {
        let (name, offset) = self.function(address)?;
        Some(match offset {
            0 => name.to_owned(),
            offset => format!("{name}+{offset:#x}"),
        })
    }

    /// The last symbol at or before `address`, and how far behind it that is.
    pub fn function(&self, address: u64) -> Option<(&str, u64)> {
        if !self.image()?.contains(&address) {
            return None;
        }
        let behind = self
            .by_address
            .partition_point(|(start, _)| *start <= address);
        let (start, name) = self.by_address.get(behind.checked_sub(1)?)?;
        Some((name, address - start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_the_symbol_before_it() {
        let map =
            "c0008000 T _text\nc0008100 t copy\nnonsense\nc0008200 T clear_page\nc0009000 B _end\n";
        let symbols = Symbols::parse(map);
        let name = |address| symbols.name(address).unwrap_or("-".into());
        assert_eq!(name(0xc000_8100), "copy");
        assert_eq!(name(0xc000_81fc), "copy+0xfc");
        assert_eq!(name(0xc000_8204), "clear_page+0x4");
        assert_eq!(
            (name(0xc000_7fff), name(0xc000_9000)),
            ("-".into(), "-".into())
        );
        assert_eq!(symbols.address("clear_page"), Some(0xc000_8200));
        assert_eq!(Symbols::default().name(0), None);
    }
}
