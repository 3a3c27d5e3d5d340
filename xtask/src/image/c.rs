// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles C files into a static program for the guest, with the C compiler of the target.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};

use crate::machine::args::quote;
use crate::{files, guard};

/// Options for every C program of a guest. 64-bit offsets and times: the kernel may lack the 32-bit system calls.
/// -ffunction-sections: see [`wasm`](super::wasm).
pub(super) const FLAGS: [&str; 3] =
    ["-ffunction-sections", "-D_FILE_OFFSET_BITS=64", "-D_TIME_BITS=64"];

/// C files that make one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CProgram {
    /// Source files. The compiler decides by the extension, so assembler files work too.
    pub sources: Vec<PathBuf>,
    /// Further arguments of the compiler, such as `-DROUNDS=3` or `-lm`. They follow the sources.
    pub flags: Vec<String>,
}

impl CProgram {
    /// Compiles the program and writes it to the file `to`, whose directory it creates. `cross` is the prefix of the C
    /// compiler, `cross` of the target's [`RustSpec`](crate::target::RustSpec).
    ///
    /// # Errors
    /// A source does not exist, the compiler is missing, or it rejects the program. The error contains the command and
    /// the messages of the compiler.
    pub(crate) fn build(&self, cross: &str, to: &Path) -> Result<()> {
        if let Some(missing) = self.sources.iter().find(|source| !source.is_file()) {
            bail!("compile {}: there is no such file", missing.display());
        }
        files::create_dir(to.parent().context("a program is in a directory")?)?;
        let (compiler, args) = self.command(cross, to);
        let command = guard::command(&compiler, &args).stdout_null().stderr_capture();
        let output = guard::run(&command)?;
        match output.status.code() {
            Some(0) => Ok(()),
            Some(guard::CANNOT_RUN) => bail!(
                "compile {}: {compiler} is missing; run `cargo xtask doctor` to see the package that contains it",
                to.display()
            ),
            _ => bail!(failure(&compiler, &args, &output)),
        }
    }

    /// Returns the compiler and its arguments.
    fn command(&self, cross: &str, to: &Path) -> (String, Vec<String>) {
        // -g: `addr2line` and gdb can find the line of an instruction that the oracle reports.
        let words = ["-O2", "-g", "-static"].iter().chain(&FLAGS).chain(&["-o"]);
        let mut args: Vec<String> = words.map(|word| word.to_string()).collect();
        args.push(to.display().to_string());
        args.extend(self.sources.iter().map(|source| source.display().to_string()));
        args.extend(self.flags.iter().cloned());
        (format!("{cross}gcc"), args)
    }
}

/// Describes a failed compilation: the messages of the compiler, and the command that repeats it.
fn failure(compiler: &str, args: &[String], output: &Output) -> String {
    let messages = String::from_utf8_lossy(&output.stderr);
    let words = [compiler].into_iter().chain(args.iter().map(String::as_str));
    let command: Vec<String> = words.map(quote).collect();
    format!("{}\ncompile: {}\n  {}", messages.trim_end(), output.status, command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(sources: &[&Path], flags: &[&str]) -> CProgram {
        CProgram {
            sources: sources.iter().map(|source| source.to_path_buf()).collect(),
            flags: flags.iter().map(|flag| flag.to_string()).collect(),
        }
    }

    #[test]
    fn programs_are_static_and_know_64_bit_offsets() {
        let sources = [Path::new("a.c"), Path::new("it's/b.c")];
        let (compiler, args) =
            program(&sources, &["-lm"]).command("hppa-linux-gnu-", Path::new("/t/a"));
        let words: Vec<String> = [compiler].iter().chain(&args).map(|word| quote(word)).collect();
        insta::assert_snapshot!(words.join(" "), @r"hppa-linux-gnu-gcc -O2 -g -static -ffunction-sections -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 -o /t/a a.c 'it'\''s/b.c' -lm");
    }

    #[test]
    fn an_error_names_the_file_or_shows_the_messages_of_the_compiler() {
        let dir = tempfile::tempdir().unwrap();
        let (source, to) = (dir.path().join("broken.c"), dir.path().join("out/broken"));
        let error = |source: &Path, cross: &str| {
            let error = program(&[source], &[]).build(cross, &to).unwrap_err().to_string();
            error.replace(&*dir.path().to_string_lossy(), "DIR")
        };
        insta::assert_snapshot!(error(&source, ""), @"compile DIR/broken.c: there is no such file");
        std::fs::write(&source, "int main(void) { return missing; }\n").unwrap();
        let messages = error(&source, "");
        assert!(messages.contains("broken.c:1:25: error"), "{messages}");
        assert!(messages.contains("compile: exit status: 1\n  gcc -O2 -g -static"), "{messages}");
        assert!(!to.exists());
        insta::assert_snapshot!(error(&source, "vax-linux-gnu-"), @"compile DIR/out/broken: vax-linux-gnu-gcc is missing; run `cargo xtask doctor` to see the package that contains it");
        std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        program(&[&source], &[]).build("", &to).unwrap();
        assert!(std::fs::read(&to).unwrap().starts_with(b"\x7fELF"));
    }
}
