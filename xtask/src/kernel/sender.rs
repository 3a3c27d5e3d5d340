// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sender of the lab's own patches. The stored queue has a placeholder in their `From` and `Signed-off-by` lines.
//! Patches for sending have the name and the address of the user there.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::edit::{BASE, git_command};
use crate::shell;

/// Name and address of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    address: String,
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (name, address) = text.trim().strip_suffix('>')?.split_once('<')?;
            let (name, address) = (name.trim(), address.trim());
            let local = address.split_once('@')?.0;
            let valid = !name.is_empty()
                && !local.is_empty()
                && !address.contains(['<', '>', ' '])
                && !name.contains(['<', '>', '\n']);
            valid.then(|| Self { name: name.to_owned(), address: address.to_owned() })
        };
        parse().ok_or_else(|| format!("{text:?}: expected a name and an address, `NAME <ADDRESS>`"))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}>", self.name, self.address)
    }
}

impl Identity {
    /// Returns the identity that the stored queue has in place of the sender.
    pub(super) fn placeholder() -> Self {
        let (name, address) = ("dmmap-lab developers".into(), "dmmap-lab@example.org".into());
        Self { name, address }
    }

    /// Returns the identity in the user's git configuration.
    ///
    /// # Errors
    /// The configuration lacks a name or an address.
    pub fn of_user() -> Result<Self> {
        let sh = shell::here()?;
        let value = |variable: &str| {
            // Not `shell::git`, which ignores the user's settings.
            let read = shell::read(sh.cmd("git").args(["config", variable]));
            read.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let (name, address) = (value("user.name"), value("user.email"));
        if name.is_empty() || address.is_empty() {
            bail!(
                "your name and address are unknown: give them with --signoff \"NAME <ADDRESS>\", or set user.name and \
                 user.email with `git config --global`"
            );
        }
        Ok(Self { name, address })
    }
}

/// Author and message of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    author: String,
    message: String,
}

/// Start of the line in a commit message that states who passed the patch on.
pub(super) const SIGNED_OFF: &str = "Signed-off-by: ";

/// Returns the commit's text with `to` in place of the identities `from`. The author changes if the first sign-off is in
/// `from`, or if there is no sign-off and the author is in `from`: by the kernel's rules, the author signs off first.
fn replace(text: &Text, from: &[Identity], to: &Identity) -> Text {
    let is_from = |name: &str| from.iter().any(|identity| identity.to_string() == name.trim());
    let signer = text.message.lines().find_map(|line| line.strip_prefix(SIGNED_OFF));
    let is_own = is_from(signer.unwrap_or(&text.author));
    let line = |line: &str| match line.strip_prefix(SIGNED_OFF) {
        Some(signer) if is_from(signer) => format!("{SIGNED_OFF}{to}\n"),
        _ => format!("{line}\n"),
    };
    Text {
        author: if is_own { to.to_string() } else { text.author.clone() },
        message: text.message.trim_end().lines().map(line).collect(),
    }
}

/// Creates copies of `commits`, the commits from the tag [`BASE`] on, with `to` in place of the identities `from`.
/// Returns the copies. Branches do not change.
pub(super) fn rewrite(
    place: &Path,
    commits: &[&str],
    from: &[Identity],
    to: &Identity,
) -> Result<Vec<String>> {
    let sh = shell::in_dir(place)?;
    let mut copies: Vec<String> = Vec::new();
    for commit in commits {
        let format = "--format=%an <%ae>%x00%ad%x00%B";
        let show = ["show", "--no-patch", "--date=raw", format, commit];
        let shown = shell::read(git_command(&sh, &show))?;
        let mut parts = shown.splitn(3, '\0').map(str::to_owned);
        let mut part = || parts.next().context("git show printed too little");
        let (author, date, message) = (part()?, part()?, part()?);
        let text = replace(&Text { author, message }, from, to);
        let (name, address) = text.author.rsplit_once(" <").context("the author has no address")?;
        let tree = format!("{commit}^{{tree}}");
        let parent = copies.last().map_or(BASE, String::as_str);
        let copy = git_command(&sh, &["commit-tree", &tree, "-p", parent, "-F", "-"])
            .env("GIT_AUTHOR_NAME", name)
            .env("GIT_AUTHOR_EMAIL", address.trim_end_matches('>'))
            .env("GIT_AUTHOR_DATE", format!("@{date}"))
            .stdin(&text.message);
        copies.push(shell::read(copy)?.trim().to_owned());
    }
    Ok(copies)
}

/// Returns the environment that makes `identity` the sender of a cover letter.
pub(super) fn environment(identity: &Identity) -> [(&'static str, &str); 2] {
    [("GIT_COMMITTER_NAME", &identity.name), ("GIT_COMMITTER_EMAIL", &identity.address)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_name_and_an_address() {
        let parse = |text: &str| text.parse::<Identity>();
        assert_eq!(parse("A B <a@b.org>").unwrap().to_string(), "A B <a@b.org>");
        for text in ["", "A B", "a@b.org", "<a@b.org>", "A <b>", "A <@b>", "A <a@b> <c@d>"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        insta::assert_snapshot!(parse("A B").unwrap_err(), @r#""A B": expected a name and an address, `NAME <ADDRESS>`"#);
    }

    #[test]
    fn the_author_follows_the_first_sign_off() {
        let user: Identity = "U <u@x.org>".parse().unwrap();
        let placeholder = Identity::placeholder();
        let replaced = |author: &str, signers: &[&str]| {
            let lines = signers.iter().map(|signer| format!("{SIGNED_OFF}{signer}\n"));
            let message = format!("subject\n\n{}", lines.collect::<String>());
            let text = Text { author: author.into(), message };
            let text = replace(&text, std::slice::from_ref(&placeholder), &user);
            format!("{}: {}", text.author, text.message.replace('\n', "|"))
        };
        let (own, other) = (placeholder.to_string(), "O <o@x.org>");
        insta::assert_snapshot!(replaced(other, &[&own]), @"U <u@x.org>: subject||Signed-off-by: U <u@x.org>|");
        insta::assert_snapshot!(replaced(other, &[other, &own]), @"O <o@x.org>: subject||Signed-off-by: O <o@x.org>|Signed-off-by: U <u@x.org>|");
        insta::assert_snapshot!(replaced(&own, &[]), @"U <u@x.org>: subject|");
        insta::assert_snapshot!(replaced(other, &[]), @"O <o@x.org>: subject|");
    }
}
