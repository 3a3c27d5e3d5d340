// SPDX-License-Identifier: MIT OR Apache-2.0
//! Steps of a script, and their text, such as `start c0; map c0.1 2+3; store c0.1 0 77; kill c0`.

use std::fmt::{self, Display};
use std::str::FromStr;

/// Client of a script, by its number, such as `c0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Client(pub u32);

/// Process of a script, which owns mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// `s`.
    Server,
    Client(Client),
}

/// Mapping of a process, such as `c0.1`. A forked process has the mappings of its parent under the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub owner: Owner,
    pub map: u32,
}

/// Range of pages of the file or of a mapping: the first page and the number of pages, such as `2+3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub first: u64,
    pub pages: u64,
}

impl Range {
    /// Returns true if the range contains the page.
    pub fn has(self, page: u64) -> bool {
        (self.first..self.first + self.pages).contains(&page)
    }
}

/// Defines the type of a step, its text and its parser from a table. The text is the word of the step, followed by its
/// fields in order.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $word:literal { $($field:ident: $kind:ty),* $(,)? },)*) => {
        /// Step of a script. A step that refers to something missing does nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Step {
            $($(#[$doc])* $step { $($field: $kind),* },)*
        }

        impl Display for Step {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Step::$step { $($field),* } => {
                        f.write_str($word)?;
                        $(write!(f, " {}", $field)?;)*
                        Ok(())
                    })*
                }
            }
        }

        impl FromStr for Step {
            type Err = ();
            fn from_str(text: &str) -> Result<Step, ()> {
                let mut words = text.split_whitespace();
                let step = match words.next().ok_or(())? {
                    $($word => Step::$step { $($field: field(words.next())?),* },)*
                    _ => return Err(()),
                };
                words.next().map_or(Ok(step), |_| Err(()))
            }
        }
    };
}

fn field<T: FromStr>(word: Option<&str>) -> Result<T, ()> {
    word.and_then(|word| word.parse().ok()).ok_or(())
}

steps! {
    /// `start c0`: starts a client.
    Start = "start" { client: Client },
    /// `map c0.1 2+3`: maps pages of the file, or for the server, of its channel.
    Map = "map" { place: Place, range: Range },
    /// `look c0.1 2+3`: maps read-only.
    Look = "look" { place: Place, range: Range },
    /// `private c0 2+3`: attempts a private mapping, which the kernel refuses.
    Private = "private" { owner: Owner, range: Range },
    /// `long c0`: attempts a mapping of one page more than the limit, which the kernel refuses.
    Long = "long" { owner: Owner },
    /// `unmap c0.1`: unmaps a mapping.
    Unmap = "unmap" { place: Place },
    /// `punch c0.1 1+1 4`: unmaps a part. The part behind becomes mapping 4.
    Punch = "punch" { place: Place, part: Range, rest: u32 },
    /// `protect c0.1 1+1 4 5`: makes a part read-only, which becomes mapping 4. The part behind becomes mapping 5.
    Protect = "protect" { place: Place, part: Range, middle: u32, rest: u32 },
    /// `shift c0.1 1+1 4 5`: moves a part to another address, which becomes mapping 4. The part behind becomes mapping
    /// 5.
    Shift = "shift" { place: Place, part: Range, middle: u32, rest: u32 },
    /// `move c0.1 2`: moves the first pages to another address, and unmaps the rest.
    Move = "move" { place: Place, pages: u64 },
    /// `zap c0.1`: calls madvise with MADV_DONTNEED.
    Zap = "zap" { place: Place },
    /// `store c0.1 0 77`: stores a word to a page.
    Store = "store" { place: Place, page: u64, word: u64 },
    /// `load c0.1 0`: loads the word of a page.
    Load = "load" { place: Place, page: u64 },
    /// `put 2+3 7`: has the server write the pattern of a seed to pages by ID, from the word of the first page to the
    /// word of the last.
    Put = "put" { range: Range, seed: u64 },
    /// `get 2+3`: has the server read pages by ID.
    Get = "get" { range: Range },
    /// `free 2+3`: has the server free pages.
    Free = "free" { range: Range },
    /// `fork c0 c1`: has a client fork another.
    Fork = "fork" { parent: Client, child: Client },
    /// `quit c0`: has a client exit without unmapping.
    Quit = "quit" { client: Client },
    /// `kill c0`: kills a client.
    Kill = "kill" { client: Client },
    /// `limit 4`: sets the limit of pages of the connection.
    Limit = "limit" { pages: u64 },
    /// `check`: loads the word of every page that exists, through every mapping that shows the page.
    Check = "check" {},
}

impl Step {
    /// Returns true for a step that changes mappings, so that the kernel can send the server a request. Other steps
    /// access the contents of pages only.
    pub fn maps(&self) -> bool {
        !matches!(
            self,
            Step::Zap { .. }
                | Step::Store { .. }
                | Step::Load { .. }
                | Step::Put { .. }
                | Step::Get { .. }
                | Step::Free { .. }
                | Step::Limit { .. }
                | Step::Check {}
        )
    }
}

impl Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Server => write!(f, "s"),
            Owner::Client(client) => client.fmt(f),
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.owner, self.map)
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.first, self.pages)
    }
}

/// Returns the text of a script.
pub(crate) fn text(steps: &[Step]) -> String {
    let steps: Vec<String> = steps.iter().map(Step::to_string).collect();
    steps.join("; ")
}

/// Parses the text of a script.
///
/// # Errors
/// Names the step that cannot be parsed.
pub(crate) fn parse(text: &str) -> Result<Vec<Step>, String> {
    let steps = text.split(';').map(str::trim);
    steps
        .filter(|step| !step.is_empty())
        .map(|step| step.parse().map_err(|()| format!("{step:?} is not a step of a script")))
        .collect()
}

impl FromStr for Client {
    type Err = ();
    fn from_str(text: &str) -> Result<Client, ()> {
        field(text.strip_prefix('c')).map(Client)
    }
}

impl FromStr for Owner {
    type Err = ();
    fn from_str(text: &str) -> Result<Owner, ()> {
        match text {
            "s" => Ok(Owner::Server),
            text => text.parse().map(Owner::Client),
        }
    }
}

impl FromStr for Place {
    type Err = ();
    fn from_str(text: &str) -> Result<Place, ()> {
        let (owner, map) = text.split_once('.').ok_or(())?;
        let (owner, map) = (owner.parse()?, field(Some(map))?);
        Ok(Place { owner, map })
    }
}

impl FromStr for Range {
    type Err = ();
    fn from_str(text: &str) -> Result<Range, ()> {
        let (first, pages) = text.split_once('+').ok_or(())?;
        let (first, pages) = (field(Some(first))?, field(Some(pages))?);
        match pages {
            0 => Err(()),
            _ => Ok(Range { first, pages }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parsed_script_has_the_same_text() {
        let script = "start c0; map c0.1 2+3; look s.2 0+1; private s 0+1; long c0; unmap c0.1; punch c0.1 1+1 4; \
                      protect c0.1 0+1 5 6; shift c0.1 2+1 7 8; move c0.1 2; zap s.2; store c0.1 0 77; load c0.1 2; put 2+3 9; get 0+6; \
                      free 1+1; fork c0 c1; quit c0; kill c1; limit 4; check";
        let steps = parse(script).unwrap();
        assert_eq!(steps.len(), 21);
        assert_eq!(text(&steps), script);
        assert_eq!(parse(" check ;\n check;").unwrap(), [Step::Check {}; 2]);
    }

    #[test]
    fn a_step_that_cannot_be_parsed_is_named() {
        for wrong in ["map c0 2+3", "start 0", "jump c0.1", "store c0.1 0", "get 3", "get 3+0"] {
            let why = parse(&format!("check; {wrong}")).unwrap_err();
            assert_eq!(why, format!("{wrong:?} is not a step of a script"));
        }
    }
}
