// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures two kernel builds: one after an edit, and one with an empty cache.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use walkdir::{DirEntry, WalkDir};

use super::{Figures, Lab};
use crate::guard;
use crate::plan::Case;
use crate::run::{Job, KernelFrom};
use crate::target::Target;

/// Returns the time from a changed line in fs/fuse/dmmap.c to the verdicts of `cases`.
pub(super) fn edit(lab: &Lab, cases: Vec<Case>) -> Result<Duration> {
    let dir = tempfile::tempdir().context("create a directory for the patch")?;
    let patch = dir.path().join("edit.patch");
    fs::write(&patch, edit_patch()).context("write the patch")?;
    let clock = Instant::now();
    let job = Job { patches: vec![patch], ..lab.job.clone() };
    let built = job.kernel(lab.target, &lab.kernel, &mut |_| {})?;
    let building = clock.elapsed();
    let kernel = KernelFrom::Image { image: built.image.clone(), dtb: None };
    let (job, checkout) = (lab.job.clone(), lab.checkout.clone());
    let (_, testing) = Lab { target: lab.target, kernel, job, checkout }.test(cases)?;
    Ok(building + testing)
}

/// Returns a patch that changes the first comment of fs/fuse/dmmap.c. The new text is unique, so that no earlier build is
/// reused.
fn edit_patch() -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let edited = format!("+/* {}", now.as_nanos());
    let lines = [
        "--- a/fs/fuse/dmmap.c",
        "+++ b/fs/fuse/dmmap.c",
        "@@ -1,3 +1,3 @@",
        " // SPDX-License-Identifier: GPL-2.0",
        "-/*",
        &edited,
        // Context after the change. Without it, git would expect the change at the end of the file.
        "  * FUSE direct mmap: pages shared between a server and its clients",
        "",
    ];
    lines.join("\n")
}

/// Measures a cold kernel build, which starts from nothing but the unpacked source: once by the lab, and once by plain
/// make with the same config.
pub(super) fn table(lab: &Lab) -> Result<Figures> {
    let Lab { target, kernel, job, .. } = lab;
    job.kernel(target, kernel, &mut |_| {})
        .context("build the kernel once, to fetch its source")?;
    let parent = job.cache.parent().context("the cache directory has no parent")?;
    let cache = tempfile::tempdir_in(parent).context("create an empty cache")?;
    symlink(job.cache.join("sources"), cache.path().join("sources"))?;

    let clock = Instant::now();
    let cold = Job { cache: cache.path().into(), ..job.clone() };
    let built = cold.kernel(target, kernel, &mut |_| {})?;
    let by_lab = clock.elapsed();
    let plain = plain_make(cold.jobs, target, &built.config, &tree_in(cache.path())?)?;

    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let mut figures = Figures::new("cold kernel build", "once");
    figures.add("by the lab, source unpacked", seconds(by_lab));
    figures.add("by plain make, same source and config", seconds(plain));
    figures.add("ratio", format!("{:.2}", by_lab.as_secs_f64() / plain.as_secs_f64()));
    Ok(figures)
}

/// Returns the patched tree of the only slot in `cache`.
fn tree_in(cache: &Path) -> Result<PathBuf> {
    let slots = WalkDir::new(cache.join("slots")).min_depth(3).max_depth(3);
    let mut entries = slots.into_iter().flatten();
    let tree = entries.find(|entry| entry.file_name() == "tree");
    tree.map(DirEntry::into_path).with_context(|| format!("no kernel tree in {}", cache.display()))
}

fn plain_make(jobs: usize, target: &Target, config: &Path, tree: &Path) -> Result<Duration> {
    let obj = tempfile::tempdir_in(tree.parent().unwrap_or(tree))?;
    fs::copy(config, obj.path().join(".config")).context("copy the config")?;
    let (tree, spec) = (tree.display().to_string(), &target.kernel);
    let make = |goals: &[&str]| {
        let settings = [
            format!("O={}", obj.path().display()),
            format!("ARCH={}", spec.arch),
            format!("CROSS_COMPILE={}", spec.cross),
            format!("-j{jobs}"),
        ];
        let words = ["-s", "-C", &tree].into_iter();
        let words = words.chain(settings.iter().map(String::as_str));
        let make = guard::command("make", words.chain(goals.iter().copied()));
        let output = guard::run(&make.stdout_null().stderr_capture())?;
        if !output.status.success() {
            bail!("make failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    };
    let mut images: Vec<_> = spec.make.split_whitespace().collect();
    images.push("vmlinux");
    let clock = Instant::now();
    make(&["olddefconfig"])?;
    make(&images)?;
    Ok(clock.elapsed())
}
