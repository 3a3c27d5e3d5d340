// SPDX-License-Identifier: MIT OR Apache-2.0
//! The function that is responsible for an access of the kernel: the innermost one that is not a helper. Helpers copy,
//! clear or add up memory for their caller, or maintain the cache, and almost every finding of the kernel begins in one.

use crate::config::Arch;
use crate::message::Access;

/// Helpers of one source file.
struct Helpers {
    /// The instruction set, or `None` for code that all machines share.
    arch: Option<Arch>,
    /// Names of the functions. A name that ends with `*` stands for all names with that start.
    names: &'static [&'static str],
}

// The source of these functions is the file in Linux, or several with the same purpose. It stands in the table for the
// reader. Names of other versions than 6.12 have their version.

const fn shared(_source: &'static str, names: &'static [&'static str]) -> Helpers {
    Helpers { arch: None, names }
}

const fn arm(_source: &'static str, names: &'static [&'static str]) -> Helpers {
    Helpers { arch: Some(Arch::Arm), names }
}

const fn hppa(_source: &'static str, names: &'static [&'static str]) -> Helpers {
    Helpers { arch: Some(Arch::Hppa), names }
}

const fn sparc64(_source: &'static str, names: &'static [&'static str]) -> Helpers {
    Helpers { arch: Some(Arch::Sparc64), names }
}

/// All helpers.
const HELPERS: &[Helpers] = &[
    shared(
        "lib/string.c",
        &["memcpy", "memmove", "memset", "memset16", "memset32", "memset64", "memcmp", "memchr"],
    ),
    shared("lib/string.c", &["strlen", "strnlen", "strscpy", "sized_strscpy", "strcmp", "strncmp"]),
    shared("lib/string_helpers.c", &["memcpy_and_pad"]),
    shared("lib/iov_iter.c", &["_copy_from_iter*", "_copy_to_iter", "_copy_mc_to_iter"]),
    shared("lib/iov_iter.c", &["copy_page_from_iter*", "copy_page_to_iter*", "iov_iter_zero"]),
    shared("include/linux/iov_iter.h", &["iterate_*"]),
    shared("include/linux/uio.h", &["copy_folio_from_iter_atomic"]),
    shared("net/core/skbuff.c", &["skb_copy_bits", "skb_store_bits", "skb_copy_and_csum_bits"]),
    shared(
        "net/core/datagram.c",
        &["__skb_datagram_iter", "skb_copy_datagram_*", "simple_copy_to_iter", "csum_and_copy_*"],
    ),
    shared("include/linux/uaccess.h", &["_copy_from_user", "_copy_to_user", "_inline_copy_*"]),
    shared("lib/usercopy.c", &["copy_from_user", "copy_to_user"]),
    shared("lib/strncpy_from_user.c", &["strncpy_from_user"]),
    shared("lib/strnlen_user.c", &["strnlen_user"]),
    shared(
        "mm/maccess.c",
        &["copy_from_kernel_nofault", "copy_to_kernel_nofault", "copy_*_user_nofault"],
    ),
    shared("lib/scatterlist.c", &["sg_copy_buffer", "sg_copy_*_buffer", "sg_pcopy_*_buffer"]),
    shared("lib/kfifo.c", &["kfifo_copy_*"]),
    shared("mm/util.c", &["folio_copy", "folio_mc_copy", "memcmp_pages"]),
    shared(
        "include/linux/highmem.h",
        &[
            "copy_page",
            "clear_page",
            "copy_highpage",
            "copy_mc_highpage",
            "clear_highpage*",
            "zero_user_segments",
        ],
    ),
    shared(
        "include/linux/highmem.h",
        &["memcpy_*_page", "memcpy_*_folio", "memset_page", "memzero_page", "folio_zero_*"],
    ),
    shared("include/linux/highmem.h", &["clear_user_highpage", "copy_user_highpage"]),
    shared("include/linux/highmem.h", &["vma_alloc_zeroed_movable_folio"]),
    shared("mm/memory.c", &["copy_user_large_folio", "folio_zero_user", "clear_huge_page"]),
    shared(
        "mm/page_alloc.c",
        &["kernel_init_pages", "post_alloc_hook", "prep_new_page", "get_page_from_freelist"],
    ),
    shared(
        "mm/page_alloc.c",
        &[
            "__alloc_pages*",
            "alloc_pages*",
            "__folio_alloc*",
            "get_free_pages*",
            "get_zeroed_page*",
        ],
    ),
    shared("lib/checksum.c", &["do_csum", "csum_partial", "ip_compute_csum", "ip_fast_csum"]),
    shared("lib/crc*.c", &["crc32_le*", "crc32_be*", "__crc32c_le*", "crc16", "xxh*"]),
    shared("lib/iomap_copy.c", &["__iowrite32_copy", "__iowrite64_copy", "__ioread32_copy"]),
    shared("mm/util.c", &["flush_dcache_folio", "flush_dcache_page"]),
    arm("arch/arm/lib/memcpy.S", &["__memcpy", "mmiocpy"]),
    arm("arch/arm/lib/memmove.S", &["__memmove"]),
    arm("arch/arm/lib/memset.S", &["__memset", "__memset32", "__memset64", "mmioset"]),
    arm("arch/arm/lib/memzero.S (until 4.15)", &["__memzero"]),
    arm("arch/arm/lib/copy_page.S", &["copy_page"]),
    arm("arch/arm/lib/copy_from_user.S", &["arm_copy_from_user"]),
    arm("arch/arm/lib/copy_to_user.S", &["arm_copy_to_user", "__copy_to_user_std"]),
    arm("arch/arm/lib/clear_user.S", &["arm_clear_user", "__clear_user_std"]),
    arm("arch/arm/lib/uaccess_with_memcpy.c", &["__copy_to_user_memcpy", "__clear_user_memset"]),
    arm("arch/arm/lib/csumpartialcopy*.S", &["csum_partial_copy_*"]),
    arm("arch/arm/kernel/io.c", &["_memcpy_fromio", "_memcpy_toio", "_memset_io"]),
    arm(
        "arch/arm/mm/copypage-v*.c",
        &[
            "v*_copy_user_highpage*",
            "v*_clear_user_highpage*",
            "v*_copy_user_page",
            "mc_copy_user_page",
        ],
    ),
    arm("arch/arm/mm/dma-mapping.c", &["__dma_clear_buffer"]),
    arm(
        "arch/arm/mm/cache-v6.S, proc-arm926.S",
        &[
            "v6_flush_*",
            "v6_coherent_*",
            "v6_dma_*",
            "arm926_flush_*",
            "arm926_coherent_*",
            "arm926_dma_*",
        ],
    ),
    arm(
        "arch/arm/mm/flush.c",
        &["__flush_dcache_folio", "__flush_dcache_aliases", "flush_pfn_alias", "__flush_anon_page"],
    ),
    arm(
        "arch/arm/mm/flush.c",
        &["flush_ptrace_access", "copy_to_user_page", "__flush_ptrace_access"],
    ),
    hppa("arch/parisc/lib/lusercopy.S", &["pa_memcpy", "lclear_user", "lstrnlen_user"]),
    hppa("arch/parisc/lib/memcpy.c", &["raw_copy_to_user", "raw_copy_from_user"]),
    hppa(
        "arch/parisc/kernel/pacache.S",
        &[
            "clear_page_asm",
            "copy_page_asm",
            "clear_user_page_asm",
            "copy_user_page_asm",
            "flush_*",
            "purge_*",
        ],
    ),
    hppa(
        "arch/parisc/kernel/cache.c",
        &["copy_to_user_page", "copy_from_user_page", "__flush_cache_page"],
    ),
    sparc64(
        "arch/sparc/lib/*memcpy.S, *copy_to_user.S, *copy_from_user.S",
        &["GEN*", "U1*", "U3*", "NG*", "M7*", "raw_copy_*", "memcpy_retl_*"],
    ),
    sparc64("arch/sparc/lib/bzero.S", &["__bzero*", "__clear_user*"]),
    sparc64(
        "arch/sparc/lib/clear_page.S",
        &["_clear_page", "clear_user_page", "clear_page_common"],
    ),
    sparc64("arch/sparc/lib/copy_page.S", &["copy_user_page", "cheetah_copy_page_insn"]),
    sparc64(
        "arch/sparc/lib/checksum.S, csum_copy*.S",
        &["__csum_partial_copy_*", "csum_partial_copy_*"],
    ),
    sparc64("arch/sparc/mm/ultra.S", &["__flush_dcache_page*"]),
    sparc64("arch/sparc/mm/init_64.c", &["flush_dcache_folio_*", "flush_dcache_page_*"]),
    sparc64("arch/sparc/kernel/ptrace_64.c", &["flush_ptrace_access"]),
];

/// Returns the function in `function+offset`, without the suffixes of parts that the compiler split off, such as
/// `.isra.0`.
pub fn function(symbol: &str) -> &str {
    let name = symbol.split('+').next().unwrap_or(symbol);
    match name.find('.') {
        Some(0) | None => name,
        Some(dot) => &name[..dot],
    }
}

/// Returns true if `function` copies, clears or adds up memory for its caller, or maintains the cache.
pub fn is_helper(arch: Arch, function: &str) -> bool {
    let rows = HELPERS.iter().filter(|row| row.arch.is_none_or(|of| of == arch));
    rows.flat_map(|row| row.names).any(|name| matches(name, function))
}

/// Returns true if `name` equals `pattern`, in which each `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    name.char_indices().any(|(at, _)| matches(rest, &name[at..])) || matches(rest, "")
}

impl Access {
    /// Returns the functions that led to the access, innermost first, as far as they are known.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        let symbols =
            std::iter::once(&self.symbol).chain(self.callers.iter().map(|frame| &frame.symbol));
        symbols.map_while(|symbol| symbol.as_deref()).map(function)
    }

    /// Returns the function that is responsible for an access of the kernel: the innermost one that is not a helper, or
    /// the outermost one if all are. `None` for a process, or if no function is known.
    pub fn find_culprit(&self, arch: Arch) -> Option<&str> {
        let mut functions = self.functions();
        functions.find(|function| !is_helper(arch, function)).or_else(|| self.functions().last())
    }
}

/// Starts of the names of functions that perform a system call (include/linux/syscalls.h, and the functions that several
/// system calls share).
const SYSTEM_CALLS: [&str; 7] =
    ["__se_sys_", "__do_sys_", "__se_compat_sys_", "compat_sys_", "ksys_", "__sys_", "sys_"];

/// Returns the name of the system call that a function of the kernel performs.
pub fn system_call(function: &str) -> Option<&str> {
    SYSTEM_CALLS.iter().find_map(|start| function.strip_prefix(start))
}

impl Access {
    /// Returns the name of the system call in which the kernel made the access, if its backtrace reaches that far.
    pub fn system_call(&self) -> Option<&str> {
        self.functions().filter_map(system_call).last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_recognized_by_machine() {
        for (arch, name) in [
            (Arch::Arm, "mmiocpy"),
            (Arch::Arm, "memcpy"),
            (Arch::Arm, "v6_copy_user_highpage_aliasing"),
            (Arch::Arm, "v4wb_clear_user_highpage"),
            (Arch::Arm, "_copy_from_iter_nocache"),
            (Arch::Hppa, "pa_memcpy"),
            (Arch::Hppa, "copy_to_user_nofault"),
            (Arch::Hppa, "clear_page_asm"),
            (Arch::Sparc64, "U3memcpy"),
            (Arch::Sparc64, "GENcopy_from_user"),
            (Arch::Sparc64, "sg_copy_from_buffer"),
        ] {
            assert!(is_helper(arch, name), "{name}");
        }
        for (arch, name) in [
            (Arch::Arm, "pa_memcpy"),
            (Arch::Hppa, "mmiocpy"),
            (Arch::Arm, "copy_process"),
            (Arch::Arm, "copy_page_range"),
            (Arch::Arm, "fuse_copy_one"),
            (Arch::Sparc64, "copy_splice_read"),
            (Arch::Hppa, "update_vsyscall"),
        ] {
            assert!(!is_helper(arch, name), "{name}");
        }
    }

    #[test]
    fn a_function_has_no_offset_and_no_suffix() {
        assert_eq!(function("memcpy+0x40"), "memcpy");
        assert_eq!(function("copy_strings.isra.0+0x4"), "copy_strings");
        assert_eq!(function("$$divI"), "$$divI");
        assert_eq!(function(".LC0+0x1"), ".LC0");
    }

    #[test]
    fn functions_that_perform_a_system_call() {
        let names = ["ksys_write", "__se_sys_pread64", "__sys_bpf", "sys_ioctl", "vfs_write"];
        let calls = names.map(system_call);
        assert_eq!(calls, [Some("write"), Some("pread64"), Some("bpf"), Some("ioctl"), None]);
    }

    #[test]
    fn patterns_with_stars() {
        assert!(matches("a*", "ab") && matches("a*", "a") && !matches("a*", "b"));
        assert!(matches("a*z", "abz") && !matches("a*z", "ab") && !matches("ab*bc", "abc"));
        assert!(
            matches("v*_copy_page*", "v6_copy_page_alias") && !matches("v*_copy_page*", "v6_page")
        );
    }
}
