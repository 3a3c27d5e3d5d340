// SPDX-License-Identifier: MIT OR Apache-2.0
//! A checkout with three cases, a fake QEMU, and guests whose output the test defines.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use protocol::frame::Encoder;
use protocol::record::{Outcome, Record};
use tempfile::TempDir;
use xtask::results::RunResult;

pub const SUITE: &str = "\
suite: smoke
about: Three cases.
deadline: 10s
cases:
  - { name: one, about: The first holds., run: one }
  - { name: two, about: The second holds., run: two }
  - { name: three, about: The third holds., run: three }
";

/// Fake QEMU. For boot N it replays the guest in `guests/N`, or the one in `guests/last` if there is none.
const QEMU: &str = r#"#!/bin/sh
case $1 in
--version) echo "QEMU emulator version $(cat "$GUESTS/version") (fake)"; exit;;
--help) echo '-plugin [file=]<file>[,<argname>=<argvalue>]'; exit;;
esac
case " $* " in *" -M none "*) cat "$GUESTS/plugins" >&2; exit 1;; esac
boot=${PWD##*/boot-}
guest=$GUESTS/$boot
[ -d "$guest" ] || guest=$GUESTS/last
echo $$ >> "$GUESTS/pids"
case " $* " in *" -plugin "*) cat "$guest/oracle" > oracle.jsonl;; esac
cat "$guest/console" >> console.log
cat "$guest/records" >> records.log
. "$guest/end"
"#;

/// Output of the guest, and of the oracle, in one boot.
#[derive(Default)]
pub struct Guest {
    encoder: Encoder,
    console: String,
    pub records: Vec<u8>,
    /// Output of the oracle. It is written only if QEMU's arguments load the plugin.
    pub oracle: String,
}

impl Guest {
    /// Creates a guest that has booted and has a plan of `cases` cases.
    pub fn up(cases: usize) -> Self {
        let mut guest = Self::default();
        guest.print("[    0.000000] Linux version 6.12.117");
        guest.record(&Record::Hello {
            release: "6.12.117".into(),
            machine: "x86_64".into(),
            page_size: 4096,
            memory: 1 << 30,
            taint: 0,
            cases,
            caches: Vec::new(),
        });
        guest
    }

    pub fn print(&mut self, line: &str) -> &mut Self {
        self.console += &format!("{line}\r\n");
        self
    }

    pub fn record(&mut self, record: &Record) -> &mut Self {
        self.records.extend(self.encoder.encode(record).into_bytes());
        self
    }

    pub fn start(&mut self, case: &str) -> &mut Self {
        self.print(&format!("[    1.0] init: case 1/3 smoke/{case}"));
        self.record(&Record::CaseStart { case: format!("smoke/{case}") })
    }

    pub fn end(&mut self, case: &str, outcome: Outcome) -> &mut Self {
        self.record(&Record::CaseEnd {
            case: format!("smoke/{case}"),
            outcome,
            millis: 5,
            taint: 0,
            figures: Default::default(),
        })
    }

    pub fn pass(&mut self, cases: &[&str]) -> &mut Self {
        for case in cases {
            self.start(case).end(case, Outcome::Pass);
        }
        self
    }

    pub fn goodbye(&mut self) -> &mut Self {
        self.record(&Record::Goodbye)
    }
}

/// A checkout with three cases, and a `PATH` with a fake QEMU.
pub struct Lab {
    dir: TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = Self { dir };
        for name in ["checkout/xtask", "checkout/suites", "bin", "guests", "cache"] {
            fs::create_dir_all(lab.path(name)).unwrap();
        }
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs");
        symlink(configs.canonicalize().unwrap(), lab.path("checkout/kernel-configs")).unwrap();
        fs::write(lab.path("checkout/suites/smoke.yaml"), SUITE).unwrap();
        fs::create_dir(lab.path("checkout/oracle")).unwrap();
        let excused = concat!(env!("CARGO_MANIFEST_DIR"), "/../oracle/excused.yaml");
        fs::copy(excused, lab.path("checkout/oracle/excused.yaml")).unwrap();
        lab.kernel("6.12", "default: true");
        fs::write(lab.path("bzImage"), "a kernel").unwrap();
        fs::write(lab.path("init"), "a program").unwrap();
        for program in xtask::setup::packages::common().unwrap() {
            lab.program(&program.program, "#!/bin/sh\n");
        }
        lab.program("qemu-system-x86_64", QEMU);
        lab.qemu_version("7.2.0");
        lab.cargo("");
        lab
    }

    /// Adds a kernel version with an empty queue. `more` is a further line of its `kernel.yaml`.
    pub fn kernel(&self, version: &str, more: &str) {
        self.describe(version, more);
        fs::write(self.path("checkout/kernel-patches").join(version).join("series"), "").unwrap();
    }

    /// Writes the `kernel.yaml` of a version, with the further lines `more`.
    pub fn describe(&self, version: &str, more: &str) {
        let dir = self.path("checkout/kernel-patches").join(version);
        fs::create_dir_all(&dir).unwrap();
        let text =
            format!("version: \"{version}\"\nabout: x\npackage: linux-source-{version}\n{more}\n");
        fs::write(dir.join("kernel.yaml"), text).unwrap();
    }

    /// Installs a fake cargo. It runs `script`, and then reports a build of the guest's program and of the plugin.
    pub fn cargo(&self, script: &str) {
        let message = serde_json::json!({
            "reason": "compiler-artifact", "package_id": "init", "features": [], "fresh": true,
            "target": { "name": "init", "kind": ["bin"], "src_path": "/x/main.rs" },
            "profile": { "opt_level": "2", "debug_assertions": false, "overflow_checks": false, "test": false },
            "executable": self.path("init"), "filenames": ["/x/liboracle.so"]
        });
        self.program("cargo", &format!("#!/bin/sh\n{script}\necho '{message}'\n"));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn qemu_version(&self, version: &str) {
        fs::write(self.path("guests/version"), version).unwrap();
    }

    /// Sets the versions of the plugin interface that QEMU reports.
    pub fn qemu_plugins(&self, first: u32, last: u32) {
        let text = format!(
            "plugin requires API version 0, but this QEMU supports only a minimum version of {first}\n\
             plugin requires API version 2147483647, but this QEMU supports only up to version {last}\n"
        );
        fs::write(self.path("guests/plugins"), text).unwrap();
    }

    /// Defines the guest of boot `number` (`"1"`, `"2"`, or `"last"` for all others). The fake QEMU runs the shell script
    /// `end` after it has written the output.
    pub fn guest(&self, number: &str, guest: &Guest, end: &str) {
        let dir = self.path("guests").join(number);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("console"), &guest.console).unwrap();
        fs::write(dir.join("records"), &guest.records).unwrap();
        fs::write(dir.join("oracle"), &guest.oracle).unwrap();
        fs::write(dir.join("end"), end).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "tests send signals to the lab")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let path = std::env::var("PATH").unwrap();
        command
            .args(args)
            .env("CARGO_MANIFEST_DIR", self.path("checkout/xtask"))
            .env("CARGO", self.path("bin/cargo"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("GUESTS", self.path("guests"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn test_command(&self, more: &[&str]) -> Command {
        let image = self.path("bzImage");
        let mut args = vec!["test", "--no-setup", "--accel", "tcg", "--kernel-image"];
        args.push(image.to_str().unwrap());
        args.extend(more);
        self.command(&args)
    }

    pub fn test(&self, more: &[&str]) -> Output {
        self.test_command(more).output().unwrap()
    }

    pub fn results(&self) -> RunResult {
        // A test has runs of one command only.
        let links =
            ["latest", "latest-run"].map(|link| self.path("checkout/target/lab").join(link));
        let run = links.into_iter().find(|link| link.exists()).unwrap();
        let path = run.join("results.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Returns `CASE VERDICT` for each case of the newest run.
    pub fn verdicts(&self) -> Vec<String> {
        let results = self.results();
        let cases = results.targets.iter().flat_map(|target| &target.cases);
        cases.map(|case| format!("{} {}", case.id, case.verdict.word())).collect()
    }

    /// Returns the fake QEMU processes that are still running.
    pub fn machines_left(&self) -> Vec<i32> {
        let pids = fs::read_to_string(self.path("guests/pids")).unwrap_or_default();
        let pids = pids.lines().map(|pid| pid.parse().unwrap());
        pids.filter(|pid| alive(*pid)).collect()
    }

    pub fn assert_no_machine_left(&self) {
        let gone = wait_until(|| self.machines_left().is_empty());
        assert!(gone, "still running: {:?}", self.machines_left());
    }
}

/// Returns true if the process is running. A zombie is not.
fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or("").trim().chars().next();
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

pub fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

pub fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

#[track_caller]
pub fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
}

pub const ALL: [&str; 3] = ["one", "two", "three"];
pub const QUICK: [&str; 2] = ["--timeout-scale", "0.05"];
