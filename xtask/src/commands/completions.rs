// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask completions`: scripts with which a shell completes `cargo xtask`.
//!
//! clap generates a script for a program `xtask`. Shells complete the first word of a command, which is `cargo`, so each
//! script ends with a few lines that connect the two. Completion of other cargo commands stays as it is.

use clap::CommandFactory;
use clap_complete::{generate, shells};

use crate::cli::{Cli, Shell};
use crate::output::out;

/// Name of the program in the generated scripts.
const PROGRAM: &str = "xtask";

/// Prints the script.
pub(super) fn run(shell: Shell) {
    out!("{}", script(shell));
}

fn script(shell: Shell) -> String {
    let mut command = Cli::command().name(PROGRAM).bin_name(PROGRAM);
    let mut text = Vec::new();
    let connection = match shell {
        Shell::Bash => {
            generate(shells::Bash, &mut command, PROGRAM, &mut text);
            BASH
        }
        Shell::Zsh => {
            generate(shells::Zsh, &mut command, PROGRAM, &mut text);
            ZSH
        }
        Shell::Fish => {
            generate(shells::Fish, &mut command, PROGRAM, &mut text);
            FISH
        }
    };
    String::from_utf8_lossy(&text).into_owned() + connection
}

/// Calls the completion of `xtask` with a command line that lacks the word `cargo`, and that of cargo otherwise.
const BASH: &str = r#"
# Completion of cargo, as it was before.
_cargo_without_xtask=$(complete -p cargo 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
[ "$_cargo_without_xtask" != _cargo_with_xtask ] || _cargo_without_xtask=

_cargo_with_xtask() {
    if [ "${COMP_WORDS[1]}" = xtask ] && [ "$COMP_CWORD" -gt 1 ]; then
        COMP_WORDS=("${COMP_WORDS[@]:1}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _xtask xtask "$2" "$3"
    elif [ -n "$_cargo_without_xtask" ]; then
        "$_cargo_without_xtask" "$@"
    fi
}
complete -F _cargo_with_xtask -o bashdefault -o default cargo
"#;

/// zsh's completion of cargo calls a function of this name for the command `xtask`. The first call loads the script.
const ZSH: &str = r#"
if [ "$funcstack[1]" = _cargo-xtask ]; then
    _xtask "$@"
fi
_cargo-xtask() { _xtask "$@"; }
"#;

/// Completes the rest of the line as if it began with `xtask`.
const FISH: &str = r#"
complete -c cargo -n '__fish_seen_subcommand_from xtask' -f -a '(complete -C (commandline -cp | string replace -r "^\s*cargo\s+" ""))'
"#;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what bash offers for the last of `words`.
    fn offers(words: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("completions");
        std::fs::write(&file, script(Shell::Bash)).unwrap();
        let last = words.len() - 1;
        let ask = format!(
            "_cargo() {{ COMPREPLY=(of-cargo); }}; complete -F _cargo cargo; source {file:?}; \
             COMP_WORDS=({words}); COMP_CWORD={last}; \
             _cargo_with_xtask cargo '{word}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words = words.join(" "),
            word = words[last],
            before = words[last - 1],
        );
        let output = duct::cmd!("bash", "-c", ask).read().unwrap();
        output.lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_completes_commands_options_and_values() {
        assert_eq!(offers(&["cargo", "xtask", "doc"]), ["doctor"]);
        assert_eq!(offers(&["cargo", "xtask", "test", "--dry"]), ["--dry-run"]);
        assert_eq!(offers(&["cargo", "xtask", "test", "--accel", "k"]), ["kvm"]);
        assert_eq!(offers(&["cargo", "bu"]), ["of-cargo"]);
    }

    #[test]
    fn every_shell_has_a_script_that_completes_cargo() {
        for (shell, line) in [
            (Shell::Bash, "complete -F _cargo_with_xtask"),
            (Shell::Zsh, "_cargo-xtask()"),
            (Shell::Fish, "complete -c cargo "),
        ] {
            let script = script(shell);
            assert!(script.contains(line), "{shell:?}");
            assert!(script.contains("ci-matrix"), "{shell:?}");
        }
    }
}
