// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a program of WebAssembly for a machine that rustc has no backend for: `wasm2c` makes C of it, and the cross
//! compiler a static program, together with the runtime in `images/wasm`. See `docs/parisc.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use xshell::cmd;

use crate::machine::args::quote;
use crate::{guard, shell};

/// Where the runtime lies in the checkout.
const RUNTIME: &str = "images/wasm";

/// One command of the build. Text in, text out; [`Step::run`] is all that touches the world.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    program: String,
    args: Vec<String>,
}

/// Makes a program of `guest`, which rustc built, with the compiler whose name begins with `cross`, in the directory
/// `out`; the path of the program.
///
/// # Errors
/// A step fails: carries its command and what it said.
pub(crate) fn build(checkout: &Path, cross: &str, guest: &Path, out: &Path) -> Result<PathBuf> {
    fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let runtime = checkout.join(RUNTIME);
    let files = files_in(&runtime)?;
    let steps = |dir: &Path| {
        [
            translation(guest, dir),
            compilation(cross, &runtime, &files, dir),
        ]
    };

    // The C compiler takes longer than all the rest of a build in which nothing has changed.
    let made_of = fingerprint(
        &steps(out),
        cross,
        files.iter().map(PathBuf::as_path).chain([guest]),
    )?;
    let (program, note) = (out.join("init"), out.join("init.made-of"));
    if program.is_file() && fs::read_to_string(&note).is_ok_and(|noted| noted == made_of) {
        return Ok(program);
    }
    // A directory of its own: another lab may be building here, and nobody finds a program that is half there.
    let work = tempfile::tempdir_in(out)
        .with_context(|| format!("make a directory in {}", out.display()))?;
    for step in steps(work.path()) {
        step.run(checkout)?;
    }
    let _ = fs::remove_file(&note);
    fs::rename(work.path().join("init"), &program)
        .with_context(|| format!("put {} in its place", program.display()))?;
    crate::paths::write_atomically(&note, made_of.as_bytes())?;
    Ok(program)
}

/// WebAssembly to C. The module's name is part of the C names that the runtime calls.
fn translation(guest: &Path, out: &Path) -> Step {
    let mut args = words(&["--module-name guest --output"]);
    args.push(out.join("guest.c").display().to_string());
    args.push(guest.display().to_string());
    Step {
        program: "wasm2c".into(),
        args,
    }
}

/// C to a program.
fn compilation(cross: &str, runtime: &Path, files: &[PathBuf], out: &Path) -> Step {
    // -O1: -O2 takes twice the time, and little time is spent in this code. -ffunction-sections: where the functions of
    // one section are too far apart for a branch, gcc 12 for PA-RISC calls through function descriptors, which a static
    // program does not have; it dies of an illegal instruction. Offsets and times of 64 bits: the kernel need not have
    // the calls with 32.
    let mut args = words(&[
        "-O1 -ffunction-sections -static -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64",
    ]);
    for dir in [runtime, out] {
        args.extend(["-I".into(), dir.display().to_string()]);
    }
    args.extend(["-o".into(), out.join("init").display().to_string()]);
    args.push(out.join("guest.c").display().to_string());
    let sources = files
        .iter()
        .filter(|file| file.extension() == Some("c".as_ref()));
    args.extend(sources.map(|source| source.display().to_string()));
    args.push("-lm".into());
    Step {
        program: format!("{cross}gcc"),
        args,
    }
}

fn words(lines: &[&str]) -> Vec<String> {
    let words = lines.iter().flat_map(|line| line.split(' '));
    words.map(str::to_owned).collect()
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
            "build the guest's program: {}\n{}\n{}",
            output.status,
            self.text(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        )
    }

    /// As a person pastes it into a shell in the checkout.
    fn text(&self) -> String {
        let words = [&self.program].into_iter().chain(&self.args);
        let words: Vec<_> = words.map(|word| quote(word)).collect();
        words.join(" ")
    }
}

/// The files of a directory, sorted.
fn files_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut files = fs::read_dir(dir)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()?;
        files.sort();
        Ok(files)
    };
    list().with_context(|| format!("list {}", dir.display()))
}

/// What the program depends on: the commands, the tools and the bytes that go in.
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
        let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        hash.update(Sha256::digest(bytes));
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
    fn a_step_that_fails_says_what_it_was() {
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
        build the guest's program: exit status: 3
        sh -c 'echo not at all >&2; exit 3'
        not at all
        ");
    }
}
