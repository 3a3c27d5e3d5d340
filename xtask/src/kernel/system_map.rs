// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the `System.map` of a kernel image that the user built or installed.

use std::path::{Path, PathBuf};

use crate::files;

/// Number of directories between the image and the root of a build directory, as in `arch/arm/boot/zImage`.
const DEPTH: usize = 3;

/// Returns the path of the `System.map` that belongs to `image`: in the same directory, where an installed
/// `vmlinuz-VERSION` has a `System.map-VERSION`, or in the root of the kernel's build directory.
pub(super) fn beside(image: &Path) -> Option<PathBuf> {
    let name = image.file_name()?.to_string_lossy();
    let dir = image.parent()?;
    let installed =
        name.split_once('-').map(|(_, version)| dir.join(format!("System.map-{version}")));
    let built = dir.ancestors().take(DEPTH + 1).map(|dir| dir.join("System.map"));
    installed.into_iter().chain(built).find(|path| has_symbols(path))
}

/// Returns true if the file at `path` contains the symbols of a whole kernel. In Debian's packages, it contains only a
/// sentence.
fn has_symbols(path: &Path) -> bool {
    let text = files::read(path).unwrap_or_default();
    text.lines().any(|line| line.ends_with(" _end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_belongs_to_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let map = "c0008000 T _text\nc0900000 B _end\n";
        let image = write("boot/vmlinuz-6.1-rpi", "");
        write("boot/System.map-6.1-rpi", "ffffffffffffffff B The real System.map is elsewhere\n");
        assert_eq!(beside(&image), None);
        let installed = write("boot/System.map-6.1-rpi", map);
        assert_eq!(beside(&image), Some(installed));
        let image = write("build/arch/arm/boot/zImage", "");
        assert_eq!(beside(&image), None);
        let built = write("build/System.map", map);
        assert_eq!(beside(&image), Some(built));
    }
}
