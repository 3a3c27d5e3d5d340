// SPDX-License-Identifier: MIT OR Apache-2.0
//! Set-up of a machine. `PATH` is a directory with shell scripts that stand in for apt-get and sudo. The fake apt-get
//! installs programs into that directory.

mod machine;
mod scripts;

use std::path::{Path, PathBuf};
use std::time::Duration;

use machine::Machine;
use xtask::program::Program;
use xtask::setup::{SetupMode, ensure_on};

/// An apt-get that knows the packages flex and bison, and logs its calls in the file `calls`.
const APT: &str = r#"
here=$(dirname "$0")
echo "$DEBIAN_FRONTEND $*" >>"$here/calls"
case " $* " in *" update "*) touch "$here/lists"; exit;; esac
for word; do
    case $word in
    flex|bison) printf '#!/bin/sh\n' >"$here/$word"; chmod 755 "$here/$word"; echo "Setting up $word";;
    esac
done
"#;

fn debian() -> Machine {
    Machine::new("ID=debian\n")
}

impl Machine {
    /// Returns the progress messages and the result.
    fn ensure(&self, mode: SetupMode) -> (Vec<String>, Result<(), String>) {
        let mut messages = Vec::new();
        let needed = ["flex", "bison"].map(program);
        let result = ensure_on(&self.host, &needed, mode, &mut |line| {
            messages.push(line.to_owned());
        });
        let result = result.map_err(|error| self.plain(&format!("{error:#}")));
        (messages, result)
    }
}

fn program(name: &str) -> Program {
    Program {
        program: name.into(),
        debian: name.into(),
        fedora: format!("{name}-fedora"),
        arch: format!("{name}-arch"),
        files: Vec::new(),
        purpose: Default::default(),
    }
}

#[test]
fn a_complete_machine_is_left_unchanged() {
    let machine = debian();
    let machine =
        ["flex", "bison", "apt-get"].iter().fold(machine, |machine, name| machine.with(name, ""));
    assert_eq!(machine.ensure(SetupMode::Allowed), (vec![], Ok(())));
    assert_eq!(machine.calls(), "");
    assert!(!machine.host.cache.exists());
}

#[test]
fn without_a_terminal_missing_programs_are_installed_without_a_question() {
    let machine = debian().with("apt-get", APT).with("bison", "");
    let (messages, result) = machine.ensure(SetupMode::Allowed);
    assert_eq!(result, Ok(()));
    insta::assert_snapshot!(messages.join("\n"), @"
    missing: flex
    apt-get will install: flex
    installed
    ");
    insta::assert_snapshot!(machine.calls(), @"noninteractive --yes -oDPkg::Lock::Timeout=600 -oAcquire::Retries=3 install --no-install-recommends flex");
}

#[test]
fn old_package_lists_are_updated() {
    let needs_lists = format!(
        r#"case " $* " in *" install "*) [ -e "$(dirname "$0")/lists" ] || {{ echo 'E: Unable to locate package flex'; exit 100; }};; esac
        {APT}"#
    );
    let machine = debian().with("apt-get", &needs_lists);
    let (messages, result) = machine.ensure(SetupMode::Allowed);
    assert_eq!(result, Ok(()));
    insta::assert_snapshot!(messages.join("\n"), @"
    missing: flex, bison
    apt-get will install: bison flex
    apt-get update: the package lists are missing or old
    installed
    ");
}

#[test]
fn a_failure_shows_the_end_of_the_log() {
    let fails = "for i in 1 2 3 4 5 6 7; do echo \"line $i of $*\" | cut -c1-20; done; echo 'E: no space left' >&2; exit 100";
    let machine = debian().with("apt-get", fails);
    let (_, result) = machine.ensure(SetupMode::Allowed);
    insta::assert_snapshot!(result.unwrap_err(), @"
    apt-get failed to install bison flex. The end of DIR/cache/setup.log:
        line 5 of --yes -oDP
        line 6 of --yes -oDP
        line 7 of --yes -oDP
        E: no space left
        line 1 of --yes -oDP
        line 2 of --yes -oDP
        line 3 of --yes -oDP
        line 4 of --yes -oDP
        line 5 of --yes -oDP
        line 6 of --yes -oDP
        line 7 of --yes -oDP
        E: no space left
    ");
}

#[test]
fn success_without_the_program_is_a_failure() {
    let machine = debian().with("apt-get", "").with("flex", "");
    let (_, result) = machine.ensure(SetupMode::Allowed);
    insta::assert_snapshot!(result.unwrap_err(), @"
    bison is missing, and apt-get reported success without installing it (log: DIR/cache/setup.log). Packages:

      program  Debian  Fedora        Arch
      bison    bison   bison-fedora  bison-arch

    Install with:
      sudo apt-get install --no-install-recommends bison
    ");
}

#[test]
fn no_setup_forbids_the_installation() {
    let machine = debian().with("apt-get", APT);
    let (messages, result) = machine.ensure(SetupMode::Forbidden);
    assert!(messages.is_empty());
    assert_eq!(machine.calls(), "");
    insta::assert_snapshot!(result.unwrap_err(), @"
    2 programs are missing, and --no-setup forbids installing anything. Packages:

      program  Debian  Fedora        Arch
      flex     flex    flex-fedora   flex-arch
      bison    bison   bison-fedora  bison-arch

    Install with:
      sudo apt-get install --no-install-recommends bison flex
    ");
}

#[test]
fn another_distribution_gets_one_clear_error() {
    let mut machine = debian().with("apt-get", APT);
    machine.host.os_release = "ID=fedora\n".into();
    let (messages, result) = machine.ensure(SetupMode::Allowed);
    assert!(messages.is_empty());
    assert_eq!(machine.calls(), "");
    insta::assert_snapshot!(result.unwrap_err(), @"
    2 programs are missing, and the lab installs packages on Debian and its derivatives only. Packages:

      program  Debian  Fedora        Arch
      flex     flex    flex-fedora   flex-arch
      bison    bison   bison-fedora  bison-arch

    Install with:
      sudo dnf install bison-fedora flex-fedora
    Debian's kernel source is not available here; pass your own with --kernel-src.
    ");
}

#[test]
fn a_user_installs_through_sudo() {
    let sudo = r#"echo "sudo $*" >>"$(dirname "$0")/sudo-calls"; [ "$1" = -n ] && { shift; exec "$@"; }; true"#;
    let mut machine = debian().with("apt-get", APT).with("sudo", sudo);
    machine.host.root = false;
    let (_, result) = machine.ensure(SetupMode::Allowed);
    assert_eq!(result, Ok(()));
    let calls = std::fs::read_to_string(machine.path("sudo-calls")).unwrap();
    insta::assert_snapshot!(calls.replace(machine.dir.path().to_str().unwrap(), "DIR"), @"
    sudo -nv
    sudo -n env DEBIAN_FRONTEND=noninteractive LC_ALL=C DIR/apt-get --yes -oDPkg::Lock::Timeout=600 -oAcquire::Retries=3 install --no-install-recommends bison flex
    ");
    assert!(machine.calls().starts_with("noninteractive "));
}

#[test]
fn a_user_without_rights_gets_an_error() {
    let mut machine = debian().with("apt-get", APT).with("sudo", "exit 1");
    machine.host.root = false;
    let (_, result) = machine.ensure(SetupMode::Allowed);
    let first = result.unwrap_err().lines().next().unwrap().to_owned();
    insta::assert_snapshot!(first, @"2 programs are missing, and installing packages needs root, or sudo without a password. Packages:");
    assert_eq!(machine.calls(), "");
}

#[test]
fn a_lock_held_by_another_program_is_waited_for() {
    let locked_once = format!(
        r#"here=$(dirname "$0")
        [ -e "$here/tried" ] || {{ touch "$here/tried"; echo 'E: Could not get lock /var/lib/apt/lists/lock.'; exit 100; }}
        echo 'Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend.'; sleep 0.3
        {APT}"#
    );
    let machine = debian().with("apt-get", &locked_once);
    let (messages, result) = machine.ensure(SetupMode::Allowed);
    assert_eq!(result, Ok(()));
    insta::assert_snapshot!(messages.join("\n"), @"
    missing: flex, bison
    apt-get will install: bison flex
    another program holds the package manager's lock; waiting for it
    installed
    ");
    assert!(!machine.calls().contains("update"));
}

#[test]
fn one_of_two_runs_installs_and_the_other_waits() {
    let slow = format!("sleep 1\n{APT}");
    let machine = debian().with("apt-get", &slow);
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| machine.ensure(SetupMode::Allowed));
        let lock = machine.host.cache.join("setup.log");
        while !lock.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let other = machine.ensure(SetupMode::Allowed);
        (one.join().unwrap(), other)
    });
    assert_eq!((one.1, other.1), (Ok(()), Ok(())));
    assert_eq!(other.0.last().unwrap(), "another run is installing packages; waiting for it");
    assert_eq!(machine.calls().lines().count(), 1);
}

/// A killed dpkg would leave the package system in need of repair, so apt-get must finish even if the lab is killed.
#[test]
fn apt_is_not_killed_with_the_lab() {
    let slow = format!("touch \"$(dirname \"$0\")/begun\"; sleep 1\n{APT}");
    let machine = debian().with("apt-get", &slow);
    let args = ["--ignored", "--exact", "a_lab_that_sets_up"];
    let lab = duct::cmd(std::env::current_exe().unwrap(), args)
        .env("SETUP_TEST_DIR", machine.dir.path())
        .stdout_null()
        .unchecked()
        .start()
        .unwrap();
    let wait_for = |path: &Path| {
        for _ in 0..4000 {
            if path.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} does not appear", path.display());
    };
    wait_for(&machine.path("begun"));
    lab.kill().unwrap();
    lab.wait().unwrap();
    assert!(!machine.path("flex").exists());
    wait_for(&machine.path("flex"));
}

#[test]
#[ignore = "a part of apt_is_not_killed_with_the_lab"]
fn a_lab_that_sets_up() {
    let Some(dir) = std::env::var_os("SETUP_TEST_DIR") else {
        return;
    };
    let mut machine = debian();
    machine.host.path = dir.clone();
    machine.host.cache = PathBuf::from(dir).join("cache");
    machine.ensure(SetupMode::Allowed).1.unwrap();
}
