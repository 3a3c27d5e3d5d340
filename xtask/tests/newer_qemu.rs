// SPDX-License-Identifier: MIT OR Apache-2.0
//! Installation of a QEMU that can load the oracle, on a machine whose own is too old. `PATH` is a directory with shell
//! scripts that stand in for QEMU and apt-get.

mod machine;
mod scripts;

use std::path::Path;

use machine::Machine;
use xtask::oracle::{Depth, OracleMode, OracleRequest};
use xtask::setup::SetupMode;
use xtask::setup::debian::newer_qemu;
use xtask::target::{self, Target};

/// An apt-get that installs QEMU 10 from the archive bookworm-backports, if its options name that archive.
const APT: &str = r#"
here=$(dirname "$0")
echo "$*" >>"$here/calls"
case " $* " in
*" indextargets "*) [ -e "$here/lists" ] && echo 'Packages Debian http://deb.example/debian/'; exit 0;;
*" update "*) touch "$here/lists"; exit 0;;
esac
sources=$(echo "$*" | sed -n 's/.*-oDir::Etc::SourceList=\([^ ]*\).*/\1/p')
[ "${sources%.list}" != "$sources" ] || { echo 'E: malformed stanza' >&2; exit 100; }
prefs=$(echo "$*" | sed -n 's/.*-oDir::Etc::Preferences=\([^ ]*\).*/\1/p')
grep -q 'Pin: release n=bookworm-backports' "$prefs" || { echo 'E: no preferences' >&2; exit 100; }
grep -q 'http://deb.example/debian/ bookworm-backports main' "$sources" || { echo 'E: no such release' >&2; exit 100; }
for word; do
    case $word in qemu-system-arm)
        printf '#!/bin/sh\ncase $1 in --help) echo "-plugin [file=]";; *) echo version 10.0.2;; esac\n' >"$here/$word"
        chmod 755 "$here/$word";;
    esac
done
"#;

/// The QEMU of Debian 12.
const OLD: &str = "case $1 in --help) echo '-plugin [file=]';; *) echo 'version 7.2.22';; esac";

fn bookworm() -> Machine {
    Machine::new("ID=debian\nVERSION_CODENAME=bookworm\n")
}

impl Machine {
    /// Returns the progress messages for the target of this name.
    fn ensure(&self, target: &str, oracle: OracleMode, mode: SetupMode) -> String {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs");
        let targets = target::load_all(&configs).unwrap();
        let chosen: Vec<&Target> = targets.iter().filter(|each| each.name == target).collect();
        let depth = Depth::User;
        let mut messages = Vec::new();
        let mut say = |line: &str| messages.push(line.to_owned());
        newer_qemu::ensure(
            &self.host,
            &chosen,
            OracleRequest { mode: oracle, depth, ignore_flushes: false },
            mode,
            &mut say,
        )
        .unwrap();
        self.plain(&messages.join("\n"))
    }
}

#[test]
fn an_old_qemu_is_upgraded_from_the_backports_without_a_change_to_apts_sources() {
    let query = "printf 'ii  qemu-system-x86\\nrc  qemu-system-mips\\nii  qemu-system-arm\\n'";
    let machine = bookworm().with("apt-get", APT).with("dpkg-query", query);
    let machine = machine.with("qemu-system-arm", OLD);
    insta::assert_snapshot!(machine.ensure("armv6", OracleMode::Auto, SetupMode::Allowed), @"
    armv6 cannot run under the oracle: QEMU 7.2.22 is too old; the oracle needs 9.2 or newer
    apt-get will install from bookworm-backports: qemu-system-arm qemu-system-x86
    installed
    ");
    insta::assert_snapshot!(machine.calls(), @"
    indextargets --format $(CREATED_BY) $(LABEL) $(REPO_URI)
    --yes -oDPkg::Lock::Timeout=600 -oAcquire::Retries=3 update
    indextargets --format $(CREATED_BY) $(LABEL) $(REPO_URI)
    --yes -oDPkg::Lock::Timeout=600 -oAcquire::Retries=3 -oDir::Etc::SourceList=DIR/cache/setup.list -oDir::Etc::Preferences=DIR/cache/setup.preferences update
    --yes -oDPkg::Lock::Timeout=600 -oAcquire::Retries=3 -oDir::Etc::SourceList=DIR/cache/setup.list -oDir::Etc::Preferences=DIR/cache/setup.preferences install --no-install-recommends --no-remove qemu-system-arm qemu-system-x86
    ");
    // A second call finds the new QEMU and does nothing.
    assert_eq!(machine.ensure("armv6", OracleMode::Auto, SetupMode::Allowed), "");
}

#[test]
fn a_missing_qemu_is_installed_from_the_backports_for_every_target() {
    let machine = bookworm().with("apt-get", APT);
    insta::assert_snapshot!(machine.ensure("armv7", OracleMode::Off, SetupMode::Allowed), @"
    apt-get will install from bookworm-backports: qemu-system-arm
    installed
    ");
}

#[test]
fn an_old_qemu_is_kept_where_the_oracle_is_not_used() {
    let machine = bookworm().with("apt-get", APT).with("qemu-system-arm", OLD);
    assert_eq!(machine.ensure("armv7", OracleMode::Auto, SetupMode::Allowed), "");
    assert_eq!(machine.ensure("armv6", OracleMode::Off, SetupMode::Allowed), "");
    assert_eq!(machine.calls(), "");
}

#[test]
fn nothing_is_installed_on_another_release() {
    let mut machine = bookworm().with("apt-get", APT).with("qemu-system-arm", OLD);
    for other in ["ID=debian\nVERSION_CODENAME=trixie\n", "ID=ubuntu\nID_LIKE=debian\n", ""] {
        machine.host.os_release = other.into();
        assert_eq!(machine.ensure("armv6", OracleMode::On, SetupMode::Allowed), "");
    }
    assert_eq!(machine.calls(), "");
}

#[test]
fn without_permission_the_lab_prints_the_command_and_continues() {
    let machine = bookworm().with("apt-get", APT).with("qemu-system-arm", OLD);
    insta::assert_snapshot!(machine.ensure("armv6", OracleMode::Auto, SetupMode::Forbidden), @"
    armv6 cannot run under the oracle: QEMU 7.2.22 is too old; the oracle needs 9.2 or newer
    no newer QEMU installed: --no-setup forbids installing anything
    continuing without a newer QEMU; to install one, add bookworm-backports to apt's sources and run `apt-get install -t bookworm-backports qemu-system-arm`
    ");
    let mut user = machine;
    user.host.root = false;
    insta::assert_snapshot!(user.ensure("armv6", OracleMode::Auto, SetupMode::Allowed), @"
    armv6 cannot run under the oracle: QEMU 7.2.22 is too old; the oracle needs 9.2 or newer
    apt-get will install from bookworm-backports: qemu-system-arm
    no newer QEMU installed: installing packages needs root, or sudo without a password
    continuing without a newer QEMU; to install one, add bookworm-backports to apt's sources and run `apt-get install -t bookworm-backports qemu-system-arm`
    ");
    assert_eq!(user.calls(), "");
    // A missing QEMU is not reported here: ensure_on does that.
    let bare = bookworm().with("apt-get", APT);
    assert_eq!(bare.ensure("armv6", OracleMode::Auto, SetupMode::Forbidden), "");
}

#[test]
fn an_unavailable_archive_does_not_stop_the_lab() {
    let fails = format!(
        "case \" $* \" in *\" install \"*) echo 'E: cannot fetch' >&2; exit 100;; esac\n{APT}"
    );
    let machine = bookworm().with("apt-get", &fails).with("qemu-system-arm", OLD);
    insta::assert_snapshot!(machine.ensure("armv6", OracleMode::Auto, SetupMode::Allowed), @"
    armv6 cannot run under the oracle: QEMU 7.2.22 is too old; the oracle needs 9.2 or newer
    apt-get will install from bookworm-backports: qemu-system-arm
    no newer QEMU installed: apt-get failed to install qemu-system-arm. The end of DIR/cache/setup.log:
        E: cannot fetch
    continuing without a newer QEMU; to install one, add bookworm-backports to apt's sources and run `apt-get install -t bookworm-backports qemu-system-arm`
    ");
    let empty = bookworm().with("apt-get", "case \" $* \" in *\" indextargets \"*) echo 'Packages Debian http://deb.example/debian/';; esac");
    let empty = empty.with("qemu-system-arm", OLD);
    insta::assert_snapshot!(empty.ensure("armv6", OracleMode::Auto, SetupMode::Allowed), @"
    armv6 cannot run under the oracle: QEMU 7.2.22 is too old; the oracle needs 9.2 or newer
    apt-get will install from bookworm-backports: qemu-system-arm
    no newer QEMU installed: apt-get succeeded, but armv6 cannot run under the oracle: QEMU 7.2.22 is too old; the oracle needs 9.2 or newer
    continuing without a newer QEMU; to install one, add bookworm-backports to apt's sources and run `apt-get install -t bookworm-backports qemu-system-arm`
    ");
}
