// SPDX-License-Identifier: MIT OR Apache-2.0
//! The distribution of the host, from the content of /etc/os-release (os-release(5)).

use super::packages::Distribution;

/// Returns the value of `key`, without its quotes.
fn value<'a>(os_release: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = os_release.lines();
    let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']))
}

/// Returns the human-readable name and version: `Debian GNU/Linux 12 (bookworm)`.
pub(super) fn pretty_name(os_release: &str) -> &str {
    value(os_release, "PRETTY_NAME").unwrap_or("an unknown system")
}

/// Returns the family of distributions that the host belongs to; `None` for an unknown family.
pub(super) fn family(os_release: &str) -> Option<Distribution> {
    let value = |key| value(os_release, key).unwrap_or_default();
    let names = [value("ID"), value("ID_LIKE")].join(" ");
    names.split_whitespace().find_map(|name| match name {
        "debian" | "ubuntu" => Some(Distribution::Debian),
        "fedora" | "rhel" | "centos" => Some(Distribution::Fedora),
        "arch" => Some(Distribution::Arch),
        _ => None,
    })
}

/// Returns the code name of Debian's release; `None` for derivatives, which have archives of their own.
pub(super) fn debian_codename(os_release: &str) -> Option<&str> {
    (value(os_release, "ID") == Some("debian"))
        .then(|| value(os_release, "VERSION_CODENAME"))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_belong_to_their_family() {
        assert_eq!(family("NAME=x\nID=debian\n"), Some(Distribution::Debian));
        assert_eq!(family("ID=linuxmint\nID_LIKE=\"ubuntu debian\""), Some(Distribution::Debian));
        assert_eq!(
            family("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\""),
            Some(Distribution::Fedora)
        );
        assert_eq!(family("ID=manjaro\nID_LIKE=arch"), Some(Distribution::Arch));
        assert_eq!(family("ID=alpine\nVARIANT_ID=debian"), None);
        assert_eq!(family(""), None);
    }

    #[test]
    fn only_debian_itself_has_these_backports() {
        let debian = "ID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(debian_codename(debian), Some("bookworm"));
        assert_eq!(debian_codename("ID=\"debian\"\nVERSION_CODENAME='trixie'\n"), Some("trixie"));
        assert_eq!(debian_codename("ID=debian\n"), None);
        assert_eq!(
            debian_codename("ID=raspbian\nID_LIKE=debian\nVERSION_CODENAME=bookworm\n"),
            None
        );
    }

    #[test]
    fn the_pretty_name_loses_its_quotes() {
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"X Linux 1\"\n"), "X Linux 1");
        assert_eq!(pretty_name(""), "an unknown system");
    }
}
