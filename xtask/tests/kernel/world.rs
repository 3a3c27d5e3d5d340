// SPDX-License-Identifier: MIT OR Apache-2.0
//! Environment of the tests: a checkout with a queue of two patches, a kernel source of three files, an empty cache,
//! and fake make and apt programs. Each build runs in a separate process, so that a test can kill it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use duct::Handle;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use xtask::kernel::{self, Request, Selection, Source};
use xtask::target::Target;

/// Environment variable with the [`Job`] of the process that runs [`act`].
pub const JOB: &str = "KERNEL_TEST_JOB";

pub const TARGET: &str = "
name: toy
about: A machine that does not exist
kernel: { arch: toy, cross: fake-, make: image, image: image }
rust: { target: toy-unknown-linux-gnu }
qemu:
  binary: qemu-system-toy
  machine: toy
  cpu: toy
  cpus: 1
  memory_mib: 1
  console: ttyS0
  records: /dev/ttyS1
cache: { kind: physical, period: 4096, line: 64 }
";

/// Parameters of a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub dir: PathBuf,
    /// `None` for Debian's source.
    pub source: Option<PathBuf>,
    /// Suites of Debian's archive that have the source.
    pub suites: Vec<String>,
    pub queue: bool,
    /// Stack to apply with those that it needs; `None` for all.
    pub stack: Option<String>,
    pub flavour: String,
    /// Names of the fixes that the target needs.
    pub fixes: Vec<String>,
    /// Patches on top of the queue.
    pub patches: Vec<PathBuf>,
    /// Computes the key of the kernel instead of building it.
    pub key: bool,
}

/// Result of a build.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Steps; numbered steps as `1/2 CC a.o`.
    pub steps: Vec<String>,
    pub image: String,
    /// File name and content of each module, in the order in which they can be loaded.
    pub modules: Vec<(String, String)>,
    pub from_cache: bool,
    pub present_fixes: Vec<String>,
    pub left_out: Vec<String>,
    pub stacks: Vec<String>,
    /// Key of the kernel, or an empty text if it was built.
    pub key: String,
    pub error: Option<String>,
}

impl Outcome {
    /// Returns the outcome of a build that must succeed.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.error, None);
        self
    }
}

pub struct World {
    pub dir: TempDir,
}

impl World {
    pub fn new() -> Self {
        // The path must not contain `~`, `:` or a space: kbuild rejects them, and the lab does too.
        let world = World { dir: tempfile::tempdir().unwrap() };
        world.write("checkout/kernel-configs/common.config", "# Why.\nCONFIG_A=y\n");
        world.write("checkout/kernel-configs/toy.config", "CONFIG_B=16\n");
        world.write("checkout/kernel-configs/flavours/debug.config", "CONFIG_B=18\n");
        world
            .write("checkout/kernel-patches/6.12/series", "# Why.\n0001-b.patch\n0002-new.patch\n");
        world.patch("0001-b.patch", "b.c", "b, patched");
        let new = "Adds a file.\n\n--- /dev/null\n+++ b/new.c\n@@ -0,0 +1 @@\n+new\n";
        world.write("checkout/kernel-patches/6.12/0002-new.patch", new);
        for (file, text) in [
            ("Makefile", "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\n"),
            ("Kbuild", ""),
            ("Kconfig", "config A\n\tbool\nconfig B\n\tint\n"),
            ("a.c", "a\n"),
            ("b.c", "b\n"),
            ("c.c", "c\n"),
        ] {
            world.write(&format!("src/{file}"), text);
        }
        world
    }

    /// Writes the patch `name` of the queue. It changes the single line of `file` from the file's name to `to`.
    pub fn patch(&self, name: &str, file: &str, to: &str) {
        self.patch_in("6.12", name, file, to);
    }

    /// Writes a patch like [`World::patch`] in the directory `dir` of `kernel-patches`.
    pub fn patch_in(&self, dir: &str, name: &str, file: &str, to: &str) {
        let from = file.trim_end_matches(".c");
        let text = format!("Why.\n\n--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-{from}\n+{to}\n");
        self.write(&format!("checkout/kernel-patches/{dir}/{name}"), &text);
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Returns a build of `src` with the queue.
    pub fn job(&self) -> Job {
        Job {
            dir: self.dir.path().to_owned(),
            source: Some(self.path("src")),
            suites: Vec::new(),
            queue: true,
            stack: None,
            flavour: "default".to_owned(),
            fixes: Vec::new(),
            patches: Vec::new(),
            key: false,
        }
    }

    pub fn build(&self) -> Outcome {
        self.run(&self.job())
    }

    pub fn run(&self, job: &Job) -> Outcome {
        finish(self.start(job))
    }

    pub fn start(&self, job: &Job) -> Handle {
        let fakes = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/fake");
        let path = format!("{fakes}:{}", std::env::var("PATH").unwrap());
        self.start_with_path(job, &path)
    }

    pub fn start_with_path(&self, job: &Job, path: &str) -> Handle {
        self.start_test("act", job, path)
    }

    /// Starts this program again, to run only the test `test` with the job in [`JOB`] and with `path` as `PATH`.
    pub fn start_test(&self, test: &str, job: &impl Serialize, path: &str) -> Handle {
        let args = ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"];
        duct::cmd(std::env::current_exe().unwrap(), args)
            .env(JOB, serde_json::to_string(job).unwrap())
            .env("PATH", path)
            .env("MADE", self.path("made"))
            .env("GATE", self.path("gate"))
            .env("STARTED", self.path("started"))
            .env("PACKAGE", self.path("package"))
            .env_remove("RUST_BACKTRACE")
            .stdout_capture()
            .stderr_null()
            .unchecked()
            .start()
            .unwrap()
    }

    /// Returns the objects that the last build of `src` compiled, separated by spaces: `a c`.
    pub fn compiled(&self) -> String {
        let log = fs::read_to_string(self.slot().join("build.log")).unwrap();
        let objects =
            log.lines().filter_map(|line| line.strip_prefix("  CC      ")?.strip_suffix(".o"));
        objects.collect::<Vec<_>>().join(" ")
    }

    /// Returns the build directory of `src`.
    pub fn slot(&self) -> PathBuf {
        let source = only_entry(&self.path("cache/slots"));
        source.join("toy-default")
    }

    /// Returns the steps that a running build has reported so far.
    pub fn steps(&self, lab: &Handle) -> String {
        fs::read_to_string(self.path(&steps_file(lab.pids()[0]))).unwrap_or_default()
    }

    /// Returns the number of times that make was started for a build.
    pub fn builds(&self) -> usize {
        self.read("made").lines().filter(|line| *line == "make image").count()
    }

    /// Replaces the parts of `text` that differ from run to run.
    pub fn redact(&self, text: &str) -> String {
        let text = text.replace(&self.dir.path().display().to_string(), "[DIR]");
        match text.find("/own-") {
            Some(at) => format!("{}/own-[ID]{}", &text[..at], &text[at + 5 + 16..]),
            None => text,
        }
    }
}

/// Returns the only directory in `dir`.
pub fn only_entry(dir: &Path) -> PathBuf {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut dirs: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    assert_eq!(dirs.len(), 1, "{dirs:?}");
    dirs.remove(0)
}

pub fn finish(lab: Handle) -> Outcome {
    let output = lab.into_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("OUTCOME ")).expect("an outcome");
    serde_json::from_str(line).unwrap()
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    const LONG: Duration = Duration::from_secs(60);
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn steps_file(pid: u32) -> String {
    format!("steps.{pid}")
}

/// Runs the build in [`JOB`], if the variable is set, and prints its outcome.
pub fn act() {
    let Ok(job) = std::env::var(JOB) else {
        return;
    };
    xtask::interrupt::install().unwrap();
    let job: Job = serde_json::from_str(&job).unwrap();
    let mut target: Target = xtask::yaml::parse(TARGET, Path::new("toy.yaml")).unwrap();
    target.kernel.fixes = job.fixes;
    let request = Request {
        checkout: &job.dir.join("checkout"),
        cache: &job.dir.join("cache"),
        target: &target,
        flavour: &job.flavour,
        coverage: None,
        kcsan: None,
        source: match job.source {
            Some(path) => Source::Path(path),
            None => Source::Debian { package: "linux-source-6.12".into(), suites: job.suites },
        },
        queue: &match job.stack {
            _ if !job.queue => Selection::Nothing,
            Some(name) => Selection::Stack(name),
            None => Selection::All,
        },
        patches: &job.patches,
        config: &[],
        jobs: 1,
    };
    let mut outcome = Outcome::default();
    if job.key {
        outcome.key = kernel::key(&request, &mut |_| {}).unwrap();
        println!("\nOUTCOME {}", serde_json::to_string(&outcome).unwrap());
        return;
    }
    let built = kernel::build(&request, &mut |progress| {
        let kernel::Progress { done, of, what } = progress;
        outcome.steps.push(match (done, of) {
            (0, _) => what,
            (_, None) => format!("{done} {what}"),
            (_, Some(of)) => format!("{done}/{of} {what}"),
        });
        // Other processes read the steps during the build. Each build has its own file.
        let file = steps_file(std::process::id());
        fs::write(job.dir.join(file), outcome.steps.join("\n")).unwrap();
    });
    match built {
        Ok(built) => {
            outcome.image = fs::read_to_string(built.image).unwrap();
            let module = |path: &PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            };
            outcome.modules = built.modules.iter().map(module).collect();
            outcome.from_cache = built.from_cache;
            outcome.present_fixes = built.present_fixes;
            outcome.left_out = built.left_out;
            outcome.stacks = built.stacks;
        }
        Err(error) => outcome.error = Some(format!("{error:?}")),
    }
    println!("\nOUTCOME {}", serde_json::to_string(&outcome).unwrap());
}
