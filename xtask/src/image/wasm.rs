// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turns a WebAssembly module into a program for a machine that rustc has no backend for. `wasm2c` translates the
//! module to C, and the cross compiler builds a static program from that C and the runtime in `images/wasm`. See
//! `docs/parisc.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use xshell::cmd;

use crate::machine::args::quote;
use crate::{files, guard, shell};

/// Directory of the runtime in the checkout.
const RUNTIME: &str = "images/wasm";

/// One command of the build. Only [`Step::run`] has side effects.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    program: String,
    args: Vec<String>,
}

/// Builds a program from the WebAssembly module `guest` in the directory `out`, and returns the program's path. `cross`
/// is the prefix of the C compiler.
///
/// # Errors
/// A step fails. The error contains its command and its messages.
pub(crate) fn build(checkout: &Path, cross: &str, guest: &Path, out: &Path) -> Result<PathBuf> {
    files::create_dir(out)?;
    let runtime = checkout.join(RUNTIME);
    let files = files::in_dir(&runtime)?;
    let steps = |dir: &Path| [translation(guest, dir), compilation(cross, &runtime, &files, dir)];

    // If nothing has changed, do not run the C compiler, which would take longer than the rest of the build.
    let inputs =
        fingerprint(&steps(out), cross, files.iter().map(PathBuf::as_path).chain([guest]))?;
    let (program, stamp) = (out.join("init"), out.join("init.made-of"));
    if program.is_file() && fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == inputs) {
        return Ok(program);
    }
    // Build in a temporary directory: another run may build at the same time, and must never find an incomplete
    // program.
    let work = tempfile::tempdir_in(out)
        .with_context(|| format!("create a directory in {}", out.display()))?;
    for step in steps(work.path()) {
        step.run(checkout)?;
    }
    let _ = fs::remove_file(&stamp);
    fs::rename(work.path().join("init"), &program)
        .with_context(|| format!("move the program to {}", program.display()))?;
    files::write_atomically(&stamp, inputs)?;
    Ok(program)
}

/// Returns the step from WebAssembly to C. The module name is part of the C names that the runtime calls.
fn translation(guest: &Path, out: &Path) -> Step {
    let mut args = words(&["--module-name guest --output"]);
    args.push(out.join("guest.c").display().to_string());
    args.push(guest.display().to_string());
    Step { program: "wasm2c".into(), args }
}

/// Returns the step from C to a program.
fn compilation(cross: &str, runtime: &Path, files: &[PathBuf], out: &Path) -> Step {
    // -O1: -O2 doubles the build time, and the program spends little time in this code. -ffunction-sections: if two
    // functions of one section are too far apart for a branch, gcc 12 for PA-RISC calls through function descriptors,
    // which do not exist in a static program; the program then fails with an illegal instruction. 64-bit offsets and
    // times: the kernel may lack the 32-bit system calls.
    let mut args = words(&[
        "-O1 -ffunction-sections -static -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64",
    ]);
    for dir in [runtime, out] {
        args.extend(["-I".into(), dir.display().to_string()]);
    }
    args.extend(["-o".into(), out.join("init").display().to_string()]);
    args.push(out.join("guest.c").display().to_string());
    let sources = files.iter().filter(|file| file.extension() == Some("c".as_ref()));
    args.extend(sources.map(|source| source.display().to_string()));
    args.push("-lm".into());
    Step { program: format!("{cross}gcc"), args }
}

fn words(lines: &[&str]) -> Vec<String> {
    lines.iter().flat_map(|line| line.split(' ')).map(str::to_owned).collect()
}

impl Step {
    fn run(&self, checkout: &Path) -> Result<()> {
        let command = guard::command(&self.program, &self.args).dir(checkout);
        let output = guard::run(&command.stdout_null().stderr_capture())?;
        if !output.status.success() {
            bail!(self.failure(&output));
        }
        Ok(())
    }

    fn failure(&self, output: &Output) -> String {
        format!(
            "build the guest program: {}\n{}\n{}",
            output.status,
            self.text(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        )
    }

    /// Returns the command quoted for a shell in the checkout.
    fn text(&self) -> String {
        let words = [&self.program].into_iter().chain(&self.args);
        let words: Vec<_> = words.map(|word| quote(word)).collect();
        words.join(" ")
    }
}

/// Returns a digest of everything that the program depends on: commands, versions of tools, and input files.
fn fingerprint<'p>(
    steps: &[Step],
    cross: &str,
    files: impl Iterator<Item = &'p Path>,
) -> Result<String> {
    let sh = shell::here()?;
    let mut hash = Sha256::new();
    for step in steps {
        hash.update(step.text() + "\n");
    }
    for tool in [format!("{cross}gcc"), "wasm2c".into()] {
        hash.update(shell::read(cmd!(sh, "{tool} --version"))?);
    }
    for file in files {
        hash.update(Sha256::digest(files::read_bytes(file)?));
    }
    Ok(format!("{:x}", hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn webassembly_becomes_c() {
        let step = translation(Path::new("/t/init.wasm"), Path::new("/out"));
        insta::assert_snapshot!(step.text(), @"wasm2c --module-name guest --output /out/guest.c /t/init.wasm");
    }

    #[test]
    fn c_becomes_a_program() {
        let files =
            ["fs.c", "main.c", "sys.h"].map(|name| Path::new("/it's here/images/wasm").join(name));
        let runtime = Path::new("/it's here/images/wasm");
        let step = compilation("hppa-linux-gnu-", runtime, &files, Path::new("/out"));
        insta::assert_snapshot!(step.text(), @r"hppa-linux-gnu-gcc -O1 -ffunction-sections -static -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 -I '/it'\''s here/images/wasm' -I /out -o /out/init /out/guest.c '/it'\''s here/images/wasm/fs.c' '/it'\''s here/images/wasm/main.c' -lm");
    }

    #[test]
    fn the_error_of_a_step_shows_its_command() {
        let step = Step {
            program: "sh".into(),
            args: vec!["-c".into(), "echo not at all >&2; exit 3".into()],
        };
        let output = Output {
            status: ExitStatus::from_raw(3 << 8),
            stdout: Vec::new(),
            stderr: b"not at all\n".to_vec(),
        };
        insta::assert_snapshot!(step.failure(&output), @r"
        build the guest program: exit status: 3
        sh -c 'echo not at all >&2; exit 3'
        not at all
        ");
    }
}
