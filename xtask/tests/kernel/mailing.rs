// SPDX-License-Identifier: MIT OR Apache-2.0
//! Patches with the name of the sender, and mails.

use std::path::Path;

use insta::assert_snapshot;
use xtask::kernel::edit::{self, Destination};
use xtask::kernel::mail::{self, Mailed};
use xtask::kernel::{Identity, Source};
use xtask::kernel_version::BaseCommit;

use crate::editing::export_to_queue;
use crate::stacks;
use crate::world::World;

/// Prints a maintainer, and with `--no-m` a list. Fails without a patch.
pub const GET_MAINTAINER: &str = "\
    die \"no patch\" unless grep { /\\.patch$/ && -e $_ } @ARGV;\n\
    print \"M One <m\\@x.org>\\n\";\n\
    print \"list\\@x.org\\n\" if grep { $_ eq '--no-m' } @ARGV;\n";

const PLACEHOLDER: &str = "dmmap-lab developers <dmmap-lab@example.org>";

fn sender() -> Identity {
    "Jürgen U <u@x.org>".parse().unwrap()
}

/// Returns a world with two stacks. The placeholder signs off the patch of `core`, and A Developer the other one.
fn world() -> World {
    let world = stacks::world();
    world.write("src/scripts/get_maintainer.pl", GET_MAINTAINER);
    let signers =
        [("0001-change-a", "A Developer <a@example.org>"), ("0002-change-b", PLACEHOLDER)];
    for (name, signer) in signers {
        let path = format!("checkout/kernel-patches/6.12/{name}.patch");
        let text = world.read(&path);
        world.write(&path, &text.replace("Why.\n", &format!("Why.\n\nSigned-off-by: {signer}\n")));
    }
    world
}

/// Options of `queue mail`.
#[derive(Default)]
pub struct Options<'a> {
    pub stack: Option<&'a str>,
    pub base: Option<&'a str>,
    pub release: Option<&'a BaseCommit>,
    pub each: bool,
}

pub fn mail(world: &World, options: Options) -> anyhow::Result<Mailed> {
    let Options { stack, base, release, each } = options;
    let request = mail::Request {
        lab: &world.path("checkout"),
        cache: &world.path("cache"),
        source: &Source::Path(world.path("src")),
        stack,
        each,
        sender: &sender(),
        base,
        release,
        dir: &world.path("mails"),
    };
    mail::write(&request, &mut |_| {})
}

/// Writes the mails of a stack.
pub fn mail_stack(world: &World, stack: &str) -> anyhow::Result<Mailed> {
    mail(world, Options { stack: Some(stack), ..Options::default() })
}

/// Returns the lines of a patch that name a person.
fn people(text: &str) -> Vec<&str> {
    let starts = ["From: ", "Signed-off-by: "];
    text.lines().filter(|line| starts.iter().any(|start| line.starts_with(start))).collect()
}

#[test]
fn the_queue_has_a_placeholder_and_exported_patches_the_sender() {
    let world = world();
    stacks::checkout(&world);
    let tree = world.path("edit");
    let out = world.path("out");
    let to_send = Destination::Directory { dir: &out, sender: &sender() };
    let exported = edit::export(&tree, to_send).unwrap();
    assert_eq!(exported.patches, ["0001-change-a.patch", "0002-change-b.patch"]);
    assert_eq!(
        people(&world.read("out/0002-change-b.patch")),
        ["From: =?UTF-8?q?J=C3=BCrgen=20U?= <u@x.org>", "Signed-off-by: Jürgen U <u@x.org>"]
    );
    let other = ["From: A Developer <a@example.org>", "Signed-off-by: A Developer <a@example.org>"];
    assert_eq!(people(&world.read("out/0001-change-a.patch")), other);

    let stored = "checkout/kernel-patches/6.12/0002-change-b.patch";
    export_to_queue(&world).unwrap();
    let placeholder = [format!("From: {PLACEHOLDER}"), format!("Signed-off-by: {PLACEHOLDER}")];
    assert_eq!(people(&world.read(stored)), placeholder);
    // A commit of the user gets the placeholder too.
    let user = sender().to_string();
    let amend = ["commit", "-q", "--amend", "--author", &user, "-m"];
    let message = format!("change b\n\nSigned-off-by: {user}");
    crate::editing::git(&tree, &[amend.as_slice(), &[message.as_str()]].concat());
    crate::editing::git(&tree, &["branch", "-q", "--force", "stack/core"]);
    let lab = &world.path("checkout");
    edit::export(&tree, Destination::Queue { lab, user: Some(&sender()) }).unwrap();
    assert_eq!(people(&world.read(stored)), placeholder);
}

#[test]
fn a_stack_becomes_a_thread_of_mails() {
    let world = world();
    let options =
        Options { stack: Some("core"), base: Some("0123456789abcdef"), ..Options::default() };
    let mailed = mail(&world, options).unwrap();
    assert_eq!(mailed.files, ["0000-cover-letter.patch", "0001-change-b.patch"]);
    assert_eq!(mailed.patches, [("change b".to_owned(), 1)]);
    let cover = world.read("mails/0000-cover-letter.patch");
    let header = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default().to_owned()
    };
    let headers = |text: &str| ["Subject", "From", "To", "Cc"].map(|name| header(text, name));
    assert_snapshot!(headers(&cover).join("\n"), @r"
    [PATCH 0/1] share pages
    =?UTF-8?q?J=C3=BCrgen=20U?= <u@x.org>
    M One <m@x.org>
    list@x.org
    ");
    assert!(cover.contains("\n\nA long\ntext.\n\n"), "{cover}");
    assert!(cover.contains("\n 1 file changed, 1 insertion(+), 1 deletion(-)\n"), "{cover}");
    assert!(cover.contains("\nbase-commit: 0123456789abcdef\n"), "{cover}");
    let patch = world.read("mails/0001-change-b.patch");
    assert_eq!(headers(&patch)[2..], headers(&cover)[2..]);
    assert_eq!(header(&patch, "In-Reply-To"), header(&cover, "Message-ID"));
    assert!(patch.contains("\nSigned-off-by: Jürgen U <u@x.org>\n"), "{patch}");
    assert!(!patch.contains("example.org"), "{patch}");
}

#[test]
fn a_stack_on_another_names_the_patches_that_it_needs() {
    let world = world();
    let series = world.read("checkout/kernel-patches/6.12/series").replace(" on nothing", "");
    world.write("checkout/kernel-patches/6.12/series", &series);
    let mailed = mail_stack(&world, "core").unwrap();
    assert_eq!(mailed.patches, [("change b".to_owned(), 1)]);
    let cover = world.read("mails/0000-cover-letter.patch");
    assert!(cover.contains("\nbase-commit: "), "{cover}");
    assert_eq!(cover.matches("\nprerequisite-patch-id: ").count(), 1, "{cover}");
}

#[test]
fn the_base_commit_is_that_of_the_release() {
    let world = world();
    let release = |release: &str| BaseCommit { release: release.into(), hash: "abc123".into() };
    let mail = |base, known: &BaseCommit| {
        let options =
            Options { stack: Some("core"), base, release: Some(known), ..Options::default() };
        mail(&world, options)
    };
    let error = world.redact(&mail(None, &release("6.12.116")).unwrap_err().to_string());
    assert_snapshot!(error, @"`base_commit` in kernel-patches/6.12/kernel.yaml is of Linux 6.12.116, but [DIR]/src is Linux 6.12.117: update it, or give the upstream commit with --base-commit");
    for (base, known, expected) in
        [(None, "6.12.117", "abc123"), (Some("def456"), "6.12.116", "def456")]
    {
        assert!(mail(base, &release(known)).unwrap().upstream_base);
        let cover = world.read("mails/0000-cover-letter.patch");
        assert!(cover.contains(&format!("\nbase-commit: {expected}\n")), "{cover}");
        std::fs::remove_dir_all(world.path("mails")).unwrap();
    }
}

#[test]
fn each_patch_is_mailed_by_itself() {
    let world = world();
    // Each patch has a list of its own.
    let lists = r#"print "$1\@x.org\n" if grep { $_ eq '--no-m' } @ARGV and join('', @ARGV) =~ /change-(\w)/;"#;
    world.write(
        "src/scripts/get_maintainer.pl",
        &format!("print \"M One <m\\@x.org>\\n\";\n{lists}\n"),
    );
    let series = "[core]\n0001-change-a.patch\n0002-change-b.patch\n";
    world.write("checkout/kernel-patches/6.12/series", series);
    let options = || Options { base: Some("abc123"), each: true, ..Options::default() };
    let mailed = mail(&world, options()).unwrap();
    assert_eq!(mailed.files, ["0001-change-a.patch", "0002-change-b.patch"]);
    for (number, name) in [(1, "a"), (2, "b")] {
        let text = world.read(&format!("mails/000{number}-change-{name}.patch"));
        for line in [
            &*format!("Subject: [PATCH] change {name}"),
            &*format!("Cc: {name}@x.org"),
            "To: M One <m@x.org>",
            "base-commit: abc123",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
        }
        assert!(!text.contains("prerequisite-patch-id") && !text.contains("In-Reply-To"), "{text}");
    }
    std::fs::remove_dir_all(world.path("mails")).unwrap();
    let second = "checkout/kernel-patches/6.12/0002-change-b.patch";
    let needs = world.read(second).replace("b.c", "a.c").replace("-b\n+b,", "-a, patched\n+a,");
    world.write(second, &needs.replace("+a, patched", "+a, patched twice"));
    let error = mail(&world, options()).unwrap_err().to_string();
    assert_snapshot!(error, @r#""change b" does not apply without the patches before it: write the stack without --each"#);
    assert!(!Path::exists(&world.path("mails")));
}

#[test]
fn a_patch_without_a_sign_off_is_not_mailed() {
    let world = world();
    let patch = "checkout/kernel-patches/6.12/0002-change-b.patch";
    let text = world.read(patch);
    world.write(patch, &text.replace(&format!("Signed-off-by: {PLACEHOLDER}\n"), ""));
    assert_snapshot!(mail_stack(&world, "core").unwrap_err(), @"
    these patches have no Signed-off-by line:
      change b
    To add yours, run `git rebase --signoff queue-base` in a tree of `cargo xtask queue checkout`, and then `cargo xtask queue export`
    ");
    assert!(!Path::exists(&world.path("mails")));
    mail_stack(&world, "fixes").unwrap();
    std::fs::remove_dir_all(world.path("mails")).unwrap();
    // The commands in the message add the line.
    stacks::checkout(&world);
    let tree = world.path("edit");
    let user = sender().to_string();
    let (name, address) = user.trim_end_matches('>').split_once(" <").unwrap();
    let config = [format!("user.name={name}"), format!("user.email={address}")];
    let rebase = ["-c", &config[0], "-c", &config[1], "rebase", "-q", "--signoff", "queue-base"];
    crate::editing::git(&tree, &rebase);
    let lab = &world.path("checkout");
    edit::export(&tree, Destination::Queue { lab, user: Some(&sender()) }).unwrap();
    assert!(world.read(patch).contains(&format!("\nSigned-off-by: {PLACEHOLDER}\n")));
    mail_stack(&world, "core").unwrap();
}

#[test]
fn mails_that_cannot_be_written_are_explained() {
    let world = world();
    assert_snapshot!(mail(&world, Options::default()).unwrap_err(), @"each stack is a series of its own; choose one with --stack: fixes, core");
    std::fs::remove_file(world.path("src/scripts/get_maintainer.pl")).unwrap();
    let error = mail_stack(&world, "core").unwrap_err().to_string();
    assert_snapshot!(error, @"ask the source's get_maintainer.pl for the recipients");
    assert!(!Path::exists(&world.path("mails")));
}
