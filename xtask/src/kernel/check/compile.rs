// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles the states of a queue in one configuration. A state is the source with the first patches of a stack.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;
use xshell::cmd;

use super::messages::{self, Message, Style};
use super::{Request, objects};
use crate::kernel::build_dir::{BuildDir, Configuration};
use crate::kernel::cache::{self, Cache};
use crate::kernel::config::{self, ConfigOption};
use crate::kernel::digest;
use crate::kernel::fixes;
use crate::kernel::make::{Made, Make};
use crate::kernel::queue::Queue;
use crate::kernel::source::Base;
use crate::kernel::toolchain::Toolchain;
use crate::kernel::{Progress, log};
use crate::target::{KernelSpec, Target};
use crate::variant::{BuildVariant, Start};
use crate::{files, shell};

/// Compiler of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compiler {
    /// The target's gcc, with the target's prefix.
    Gcc,
    /// clang and the tools of LLVM.
    Clang,
}

/// A build directory for one variant and one compiler.
pub(super) struct Compilation<'a> {
    base: &'a Base,
    dir: BuildDir,
    variant: BuildVariant,
    spec: KernelSpec,
    /// Fixes of the target, which precede every queue.
    fixes: Queue,
    options: Vec<ConfigOption>,
    toolchain: Toolchain,
    settings: Vec<String>,
    jobs: usize,
    /// Identifier of the patches in the tree; empty before the first state.
    state: String,
    /// Messages of each object when this process last compiled it.
    messages: BTreeMap<String, Vec<Message>>,
    /// Targets that this process has compiled, so that the messages of their objects are known.
    known: BTreeSet<String>,
    /// Last result of each analyser.
    analysed: BTreeMap<String, Analysis>,
}

/// Messages of an analyser.
#[derive(Clone, Debug)]
struct Analysis {
    state: String,
    targets: BTreeSet<String>,
    messages: Vec<Message>,
}

/// Error of a state that cannot be compiled at all: a patch does not apply, or the configuration tool fails or drops an
/// option. The cause follows.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("prepare the source")]
pub(super) struct Unprepared;

/// Result of a compilation.
#[derive(Debug)]
pub(super) enum Compiled {
    /// All targets compile. Holds the messages that these objects did not have when they were last compiled.
    New(Vec<Message>),
    /// The lines of make's output that show why they do not compile.
    Failed(Vec<String>),
}

impl<'a> Compilation<'a> {
    /// Locks the build directory of a variant and prepares it.
    ///
    /// # Errors
    /// The target or a config fragment does not exist, or the compiler is missing.
    pub(super) fn open(
        request: &Request,
        base: &'a Base,
        variant: &BuildVariant,
        compiler: Compiler,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let target = target(request.targets, variant)?;
        let spec = target.kernel.clone();
        let (toolchain, suffix) = match compiler {
            Compiler::Gcc => (Toolchain::find(&spec.cross)?, ""),
            Compiler::Clang => (Toolchain::llvm()?, "-clang"),
        };
        let mut options = match variant.start {
            Start::Target => {
                config::read(request.checkout, base.version, &target.name, "default", false)?
            }
            _ => Vec::new(),
        };
        let file = PathBuf::from(format!("kernel-configs/variants/{}.yaml", variant.name));
        options.extend(config::parse(&file, &variant.options)?);
        let mut settings = vec!["-Otarget".to_owned()];
        // Variants are built as a whole, and the kernel has many warnings of this level.
        settings.extend(variant.each_patch.then(|| "W=1".to_owned()));
        settings.extend((compiler == Compiler::Clang).then(|| "LLVM=1".to_owned()));
        let fixes = fixes::of_target(request.checkout, base.version, &spec.fixes)?;
        let name = format!("check-{}{suffix}", variant.name);
        let dir = BuildDir::lock(Cache(request.cache), base, &name, progress)?;
        dir.prepare()?;
        Ok(Self {
            base,
            dir,
            variant: variant.clone(),
            spec,
            fixes,
            options: config::merge(options),
            toolchain,
            settings,
            jobs: request.jobs,
            state: String::new(),
            messages: BTreeMap::new(),
            known: BTreeSet::new(),
            analysed: BTreeMap::new(),
        })
    }

    /// Returns the root of the patched source.
    pub(super) fn tree(&self) -> PathBuf {
        self.dir.tree()
    }

    /// Returns the name of the architecture's directory below `arch`.
    pub(super) fn arch(&self) -> &str {
        objects::arch_dir(&self.base.root, &self.spec.arch)
    }

    /// Updates source and `.config` to the state with the patches of `queue`.
    ///
    /// # Errors
    /// [`Unprepared`], with the cause; [`Interrupted`](crate::kernel::Interrupted) if the lab was interrupted.
    pub(super) fn set_state(
        &mut self,
        queue: &Queue,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let state = digest::of_parts(queue.patches.iter().map(|patch| patch.text.as_slice()));
        if self.state != state {
            self.state.clear();
            self.prepare(queue, progress).context(Unprepared)?;
            self.state = state;
        }
        Ok(())
    }

    fn prepare(&self, queue: &Queue, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        progress(Progress::step("patch the source".into()));
        let mut all = self.fixes.clone();
        all.append(queue.clone());
        let (_, files) = self.dir.patch(self.base, &all)?;
        progress(Progress::step("configure".into()));
        let configuration = Configuration {
            start: match self.variant.start {
                Start::Target => Start::AllNoConfig.into(),
                start => start.into(),
            },
            options: &self.options,
            toolchain: &self.toolchain,
        };
        self.dir.configure(&self.make(&[]), &configuration, &files)
    }

    /// Compiles `targets` in the current state.
    ///
    /// # Errors
    /// make cannot be run, or the lab was interrupted.
    pub(super) fn compile(
        &mut self,
        targets: &BTreeSet<String>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Compiled> {
        self.forget_objects(targets)?;
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        self.make_and_compare(&targets, progress)
    }

    /// Compiles those of `targets` that can be compiled in the current state. Returns the messages that their objects did
    /// not have before, and the objects that cannot be compiled. If a directory cannot be compiled as a whole, it is not
    /// among them.
    ///
    /// kbuild compiles the object of any source if it is asked to, even if the configuration leaves it out, as one with
    /// an MMU leaves out `mm/nommu.c`.
    ///
    /// # Errors
    /// As [`Compilation::compile`].
    pub(super) fn compile_possible(
        &mut self,
        targets: &BTreeSet<String>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Vec<Message>, BTreeSet<String>)> {
        self.forget_objects(targets)?;
        if targets.is_empty() {
            return Ok((Vec::new(), BTreeSet::new()));
        }
        let words: Vec<&str> = targets.iter().map(String::as_str).collect();
        let made = self.run(&["--keep-going".to_owned()], &words, progress)?;
        let new = self.new_messages(&made);
        let failed = log::failed_targets(&made.output);
        let failed = targets.iter().filter(|target| failed.contains(target.as_str()));
        Ok((new, failed.cloned().collect()))
    }

    /// Builds the make targets of the variant. Compiles `targets` again, so that their messages are printed.
    ///
    /// # Errors
    /// As [`Compilation::compile`].
    pub(super) fn build(
        &mut self,
        targets: &BTreeSet<String>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Compiled> {
        self.forget_objects(targets)?;
        let make = self.variant.make.clone().unwrap_or_default();
        self.make_and_compare(&Vec::from_iter(make.split_whitespace()), progress)
    }

    fn make_and_compare(
        &mut self,
        targets: &[&str],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Compiled> {
        if targets.is_empty() {
            return Ok(Compiled::New(Vec::new()));
        }
        let made = self.run(&[], targets, progress)?;
        let new = self.new_messages(&made);
        Ok(match made.status.success() {
            true => Compiled::New(new),
            false => Compiled::Failed(excerpt(&made, &self.tree())),
        })
    }

    /// Returns the messages that objects did not have when they were last compiled, and records their present ones.
    fn new_messages(&mut self, made: &Made) -> Vec<Message> {
        let failed = log::failed_targets(&made.output);
        let mut new = Vec::new();
        for (object, after) in messages::by_step(&made.output, &self.tree(), Style::Levels) {
            if failed.contains(object.as_str()) {
                continue;
            }
            let before = self.messages.get(&object).map_or(&[][..], Vec::as_slice);
            new.extend(messages::new(before, &after).into_iter().cloned());
            self.messages.insert(object, after);
        }
        new
    }

    /// Returns the messages of all objects when this process last compiled them.
    pub(super) fn known_messages(&self) -> Vec<Message> {
        self.messages.values().flatten().cloned().collect()
    }

    /// Runs an analyser on the sources of `targets`, and returns its messages. `settings` select it. Compiles the targets
    /// first if they are not up to date.
    ///
    /// # Errors
    /// As [`Compilation::compile`].
    pub(super) fn analyse(
        &mut self,
        settings: &[String],
        targets: &BTreeSet<String>,
        style: Style,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Result<Vec<Message>, Vec<String>>> {
        let program = settings.join(" ");
        let done = self.analysed.get(&program);
        if let Some(done) = done.filter(|d| d.state == self.state && d.targets == *targets) {
            return Ok(Ok(done.messages.clone()));
        }
        // Also keeps the output of the compiler out of that of the analyser.
        if let Compiled::Failed(lines) = self.compile(targets, progress)? {
            return Ok(Err(lines));
        }
        let words: Vec<&str> = targets.iter().map(String::as_str).collect();
        if words.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let made = self.run(settings, &words, progress)?;
        if !made.status.success() {
            return Ok(Err(excerpt(&made, &self.tree())));
        }
        let steps = messages::by_step(&made.output, &self.tree(), style);
        // A message about the code of a source may have its place in a header, such as one about a lock.
        let of_source = |(source, messages): (String, Vec<Message>)| {
            messages.into_iter().map(move |message| Message { file: source.clone(), ..message })
        };
        let messages: Vec<Message> = steps.into_iter().flat_map(of_source).collect();
        let (state, targets) = (self.state.clone(), targets.clone());
        self.analysed.insert(program, Analysis { state, targets, messages: messages.clone() });
        Ok(Ok(messages))
    }

    /// Makes `target` from scratch, and returns the messages. `output` is the directory below the output directory of make
    /// that has the results.
    ///
    /// # Errors
    /// As [`Compilation::compile`].
    pub(super) fn make_anew(
        &mut self,
        target: &str,
        output: &str,
        settings: &[String],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Result<Vec<Message>, Vec<String>>> {
        // Messages are printed only about what is made.
        let output = self.dir.obj().join(output);
        cache::remove_dir(&output).with_context(|| format!("remove {}", output.display()))?;
        let made = self.run(settings, &[target], progress)?;
        let tree = self.tree();
        Ok(match made.status.success() {
            true => Ok(messages::parse(made.output.lines(), &tree, Style::Levels)),
            false => Err(excerpt(&made, &tree)),
        })
    }

    /// Removes the objects of targets that this process has not compiled yet. The compiler prints messages only when it
    /// compiles, so the messages about existing objects are unknown.
    fn forget_objects(&mut self, targets: &BTreeSet<String>) -> Result<()> {
        for target in targets.difference(&self.known) {
            let path = self.dir.obj().join(target);
            if !target.ends_with('/') {
                files::remove(&path)?;
                continue;
            }
            for entry in WalkDir::new(&path).into_iter().flatten() {
                if entry.path().extension().is_some_and(|ext| ext == "o") {
                    files::remove(entry.path())?;
                }
            }
        }
        self.known.extend(targets.iter().cloned());
        Ok(())
    }

    fn run(
        &self,
        settings: &[String],
        targets: &[&str],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Made> {
        files::write(&self.dir.log(), "")?;
        self.make(settings).attempt(targets, &[], &mut |done, what| {
            progress(Progress { done, of: None, what: what.to_owned() });
        })
    }

    fn make(&self, settings: &[String]) -> Make<'_> {
        Make {
            tree: self.dir.tree(),
            obj: self.dir.obj(),
            log: self.dir.log(),
            spec: &self.spec,
            settings: self.settings.iter().chain(settings).cloned().collect(),
            jobs: self.jobs,
        }
    }
}

/// Returns the target of a variant.
///
/// # Errors
/// There is no such target.
pub(super) fn target<'t>(targets: &'t [Target], variant: &BuildVariant) -> Result<&'t Target> {
    match targets.iter().find(|target| target.name == variant.target) {
        Some(target) => Ok(target),
        None => bail!(
            "kernel-configs/variants/{}.yaml: there is no target {}",
            variant.name,
            variant.target
        ),
    }
}

/// Returns the oldest version of LLVM that can build the source in `root`, as printed by a script of the source.
pub(super) fn oldest_llvm(root: &Path) -> Result<String> {
    let sh = shell::in_dir(root)?;
    let text = shell::read(cmd!(sh, "sh scripts/min-tool-version.sh llvm"))
        .context("ask the source for the oldest version of clang that it supports")?;
    Ok(text.trim().to_owned())
}

/// Returns the lines that show why make failed, without the path of the source.
fn excerpt(made: &Made, tree: &Path) -> Vec<String> {
    let prefix = format!("{}/", tree.display());
    let lines = log::excerpt(&made.output).into_iter();
    lines.map(|line| line.replace(&prefix, "")).collect()
}
