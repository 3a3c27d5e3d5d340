// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that a check needs.

use std::path::Path;

use anyhow::Result;
use regex::Regex;

use super::plan::{Check, Work};
use super::{Request, Verdict, compile};
use crate::kernel::toolchain;
use crate::program;

/// Returns the verdict of a check whose program is missing.
pub(super) fn missing(program: &str, package: &str) -> Verdict {
    Verdict::Skipped(format!("{program} is not installed; install Debian's package {package}"))
}

/// Returns the verdict on a check that cannot be made until the program of `check` is installed, if one is missing.
/// `path` is the content of `PATH`.
///
/// # Errors
/// The check is about a variant without a target.
pub fn missing_program(request: &Request, check: &Check) -> Result<Option<Verdict>> {
    let mut needed: Vec<(String, String)> = Vec::new();
    let mut need = |program: &str, package: &str| needed.push((program.into(), package.into()));
    match &check.work {
        Work::Checkpatch => need("perl", "perl"),
        Work::KernelDoc => {}
        Work::Clang(_) => {
            need("clang", "clang");
            need("ld.lld", "lld");
            need("llvm-ar", "llvm");
        }
        Work::Sparse(_) => need("sparse", "sparse"),
        Work::Coccicheck(_) => {
            need("spatch", "coccinelle");
            // Some of the kernel's semantic patches contain OCaml.
            need("ocamlopt", "ocaml");
        }
        Work::Htmldocs(_) => need("sphinx-build", "python3-sphinx"),
        Work::Build(_) | Work::Kselftest(_) | Work::Variant(_) => {}
    }
    if let Work::Build(variant) | Work::Kselftest(variant) | Work::Variant(variant) = &check.work {
        let target = compile::target(request.targets, variant)?;
        let gcc = format!("{}gcc", target.kernel.cross);
        let known = target.programs.iter().find(|program| program.program == gcc);
        need(&gcc, known.map_or("gcc", |program| &program.debian));
    }
    let absent =
        needed.iter().find(|(program, _)| program::find_program(program, request.path).is_none());
    Ok(absent.map(|(program, package)| missing(program, package)))
}

/// Returns the reason to skip a check with clang if the source in `root` needs a newer version.
pub(super) fn outdated_clang(root: &Path) -> Result<Option<Verdict>> {
    let text = toolchain::version("clang")?;
    let oldest = compile::oldest_llvm(root)?;
    let (Some(here), Some(needed)) = (number(&text), number(&oldest)) else {
        return Ok(None);
    };
    Ok((here < needed).then(|| {
        Verdict::Skipped(format!("{text} is too old: this kernel needs clang {oldest} or newer"))
    }))
}

/// Returns the first version number in a text.
fn number(text: &str) -> Option<(u32, u32, u32)> {
    let pattern = Regex::new(r"(\d+)\.(\d+)\.(\d+)").expect("it is valid");
    let found = pattern.captures(text)?;
    let part = |at: usize| found[at].parse().ok();
    Some((part(1)?, part(2)?, part(3)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(number("Debian clang version 14.0.6") < number("15.0.1"));
        assert!(number("Debian clang version 14.0.6") > number("13.0.1"));
        assert_eq!(number("clang"), None);
    }
}
