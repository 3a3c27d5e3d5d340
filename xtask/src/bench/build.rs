// SPDX-License-Identifier: MIT OR Apache-2.0
//! What building the kernel costs: after an edit, and from nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use super::{Figures, Lab};
use crate::plan::Case;
use crate::run::{Job, KernelFrom};
use crate::target::Target;

/// The line of the queue that is edited: a comment in the first lines of fs/fuse/dmmap.c, no other patch's context.
const EDITED: &str = "\n+ * FUSE direct mmap: ";

/// From a changed line in fs/fuse/dmmap.c to the verdict of `cases`.
pub fn edit(lab: &Lab, cases: Vec<Case>) -> Result<Duration> {
    let edited = edited_checkout(&lab.checkout)?;
    let clock = Instant::now();
    let job = Job {
        checkout: edited.path().into(),
        ..lab.job.clone()
    };
    let built = job.kernel(lab.target, &mut |_| {})?;
    let building = clock.elapsed();
    // The guest's program is that of the real checkout.
    let job = Job {
        source: KernelFrom::Image(built.image.clone()),
        ..lab.job.clone()
    };
    let (_, testing) = Lab {
        job,
        checkout: lab.checkout.clone(),
        ..*lab
    }
    .test(cases)?;
    Ok(building + testing)
}

/// A checkout like ours but for one line of its patch queue, which no run has had before.
fn edited_checkout(checkout: &Path) -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir().context("make a directory for the edited checkout")?;
    let sh = Shell::new()?;
    sh.change_dir(dir.path());
    let queue = checkout.join("kernel-patches");
    cmd!(sh, "cp -r {queue} .").run()?;
    symlink(
        checkout.join("kernel-configs"),
        dir.path().join("kernel-configs"),
    )?;
    let patches = walk(&dir.path().join("kernel-patches"))?;
    for patch in patches {
        let text = fs::read_to_string(&patch)?;
        if text.contains(EDITED) {
            let nanos = std::time::UNIX_EPOCH
                .elapsed()
                .unwrap_or_default()
                .as_nanos();
            let now = format!("{EDITED}(edit {nanos}) ");
            fs::write(&patch, text.replacen(EDITED, &now, 1))?;
            return Ok(dir);
        }
    }
    bail!("no patch in {} has the line {EDITED:?}", queue.display())
}

fn walk(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(walk(&path)?),
            false => files.push(path),
        }
    }
    Ok(files)
}

/// A kernel from nothing but its unpacked source, by the lab and by plain make with the same config.
pub fn table(job: &Job, target: &Target) -> Result<Figures> {
    job.kernel(target, &mut |_| {})
        .context("fetch the source first")?;
    let beside = job.cache.parent().context("the cache has no parent")?;
    let cache = tempfile::tempdir_in(beside).context("make an empty cache")?;
    symlink(job.cache.join("sources"), cache.path().join("sources"))?;

    let clock = Instant::now();
    let cold = Job {
        cache: cache.path().into(),
        ..job.clone()
    };
    let built = cold.kernel(target, &mut |_| {})?;
    let lab = clock.elapsed();
    let plain = plain_make(cold.jobs, target, &built.config, &tree_in(cache.path())?)?;

    let minutes = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let mut figures = Figures::new("a kernel from nothing", "once");
    figures.add("by the lab, source unpacked", minutes(lab));
    figures.add("by plain make, same source and config", minutes(plain));
    figures.add(
        "ratio",
        format!("{:.2}", lab.as_secs_f64() / plain.as_secs_f64()),
    );
    Ok(figures)
}

/// The patched tree of the one slot in `cache`.
fn tree_in(cache: &Path) -> Result<PathBuf> {
    let mut trees = Vec::new();
    for source in fs::read_dir(cache.join("slots"))?.flatten() {
        for slot in fs::read_dir(source.path()).into_iter().flatten().flatten() {
            trees.push(slot.path().join("tree"));
        }
    }
    trees
        .into_iter()
        .find(|tree| tree.is_dir())
        .context("the lab left no tree")
}

fn plain_make(jobs: usize, target: &Target, config: &Path, tree: &Path) -> Result<Duration> {
    let obj = tempfile::tempdir_in(tree.parent().unwrap_or(tree))?;
    fs::copy(config, obj.path().join(".config")).context("copy the config")?;
    let sh = Shell::new()?;
    let (dir, spec, jobs) = (obj.path(), &target.kernel, jobs.to_string());
    let arch = format!("ARCH={}", spec.arch);
    let cross = format!("CROSS_COMPILE={}", spec.cross);
    let image = &spec.make;
    let clock = Instant::now();
    cmd!(sh, "make -s -C {tree} O={dir} {arch} {cross} olddefconfig")
        .quiet()
        .ignore_stdout()
        .run()?;
    cmd!(
        sh,
        "make -s -C {tree} O={dir} {arch} {cross} -j{jobs} {image} vmlinux"
    )
    .quiet()
    .ignore_stdout()
    .run()?;
    Ok(clock.elapsed())
}
