// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steps of a script, and their text: `start c0; map c0.1 2+3; store c0.1 0 77; kill c0`.

use std::fmt::{self, Display};
use std::str::FromStr;

/// A process of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// `s`.
    Server,
    /// `c` and its number.
    Client(u32),
}

/// A mapping in a process, such as `c0.1`. A forked process has those of its parent under the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub who: Who,
    pub map: u32,
}

/// Pages: the first and how many, such as `2+3`. Of the file, or of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub first: u64,
    pub pages: u64,
}

impl Range {
    /// The page is one of them.
    pub fn has(self, page: u64) -> bool {
        (self.first..self.first + self.pages).contains(&page)
    }
}

/// One step. What it refers to need not be there; it does nothing then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// `start c0`: a client starts.
    Start(u32),
    /// `map c0.1 2+3`: it maps pages of the file; the server, its channel. `look` is for reading alone.
    Map {
        place: Place,
        range: Range,
        writable: bool,
    },
    /// `private c0 2+3`: a private mapping, which is refused.
    Private { who: Who, range: Range },
    /// `long c0`: a mapping of one page more than there may ever be.
    Long(Who),
    /// `unmap c0.1`: all of it.
    Unmap(Place),
    /// `punch c0.1 1+1 4`: a part of it; what is behind is mapping 4.
    Punch {
        place: Place,
        part: Range,
        rest: u32,
    },
    /// `protect c0.1 1+1 4 5`: a part can be read alone, and is mapping 4; what is behind is 5.
    Protect {
        place: Place,
        part: Range,
        middle: u32,
        rest: u32,
    },
    /// `shift c0.1 1+1 4 5`: a part goes to another address, and is mapping 4; what is behind is 5.
    Shift {
        place: Place,
        part: Range,
        middle: u32,
        rest: u32,
    },
    /// `move c0.1 2`: its first pages go to another address; what is behind is unmapped.
    Move { place: Place, pages: u64 },
    /// `zap c0.1`: MADV_DONTNEED.
    Zap(Place),
    /// `store c0.1 0 77`: a word into a page of it.
    Store { place: Place, page: u64, word: u64 },
    /// `load c0.1 0`: the word of a page.
    Load { place: Place, page: u64 },
    /// `put 2+3 7`: the server writes to pages by their IDs, up to the word in the last: the pattern of a seed.
    Put { range: Range, seed: u64 },
    /// `get 2+3`: the server reads pages by their IDs.
    Get(Range),
    /// `free 2+3`: the server lets go of pages.
    Free(Range),
    /// `fork c0 c1`: a client forks another.
    Fork { parent: u32, child: u32 },
    /// `quit c0`: a client ends by itself, with all its mappings.
    Quit(u32),
    /// `kill c0`: it is killed.
    Kill(u32),
    /// `limit 4`: so many pages may the connection have from now on.
    Limit(u64),
    /// `check`: every page that exists, through everything that shows it.
    Check,
}

impl Step {
    /// It is about mappings, and not only about what is in them: the server may hear of it.
    pub fn maps(&self) -> bool {
        !matches!(
            self,
            Step::Zap(_)
                | Step::Store { .. }
                | Step::Load { .. }
                | Step::Put { .. }
                | Step::Get(_)
                | Step::Free(_)
                | Step::Limit(_)
                | Step::Check
        )
    }
}

impl Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Server => write!(f, "s"),
            Who::Client(number) => write!(f, "c{number}"),
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.who, self.map)
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.first, self.pages)
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Start(client) => write!(f, "start c{client}"),
            Step::Map {
                place,
                range,
                writable,
            } => {
                let word = if *writable { "map" } else { "look" };
                write!(f, "{word} {place} {range}")
            }
            Step::Private { who, range } => write!(f, "private {who} {range}"),
            Step::Long(who) => write!(f, "long {who}"),
            Step::Unmap(place) => write!(f, "unmap {place}"),
            Step::Punch { place, part, rest } => write!(f, "punch {place} {part} {rest}"),
            Step::Protect {
                place,
                part,
                middle,
                rest,
            } => write!(f, "protect {place} {part} {middle} {rest}"),
            Step::Shift {
                place,
                part,
                middle,
                rest,
            } => write!(f, "shift {place} {part} {middle} {rest}"),
            Step::Move { place, pages } => write!(f, "move {place} {pages}"),
            Step::Zap(place) => write!(f, "zap {place}"),
            Step::Store { place, page, word } => write!(f, "store {place} {page} {word}"),
            Step::Load { place, page } => write!(f, "load {place} {page}"),
            Step::Put { range, seed } => write!(f, "put {range} {seed}"),
            Step::Get(range) => write!(f, "get {range}"),
            Step::Free(range) => write!(f, "free {range}"),
            Step::Fork { parent, child } => write!(f, "fork c{parent} c{child}"),
            Step::Quit(client) => write!(f, "quit c{client}"),
            Step::Kill(client) => write!(f, "kill c{client}"),
            Step::Limit(pages) => write!(f, "limit {pages}"),
            Step::Check => write!(f, "check"),
        }
    }
}

/// The text of a script.
pub(crate) fn text(steps: &[Step]) -> String {
    let steps: Vec<String> = steps.iter().map(Step::to_string).collect();
    steps.join("; ")
}

/// The script of a text.
///
/// # Errors
/// The step that is none.
pub(crate) fn parse(text: &str) -> Result<Vec<Step>, String> {
    let steps = text.split(';').map(str::trim);
    steps
        .filter(|step| !step.is_empty())
        .map(|step| step.parse().map_err(|()| format!("no step: {step:?}")))
        .collect()
}

impl FromStr for Who {
    type Err = ();
    fn from_str(text: &str) -> Result<Who, ()> {
        match text {
            "s" => Ok(Who::Server),
            text => client(text).map(Who::Client),
        }
    }
}

impl FromStr for Place {
    type Err = ();
    fn from_str(text: &str) -> Result<Place, ()> {
        let (who, map) = text.split_once('.').ok_or(())?;
        let (who, map) = (who.parse()?, number(map)? as u32);
        Ok(Place { who, map })
    }
}

impl FromStr for Range {
    type Err = ();
    fn from_str(text: &str) -> Result<Range, ()> {
        let (first, pages) = text.split_once('+').ok_or(())?;
        let (first, pages) = (number(first)?, number(pages)?);
        match pages {
            0 => Err(()),
            _ => Ok(Range { first, pages }),
        }
    }
}

impl FromStr for Step {
    type Err = ();
    fn from_str(text: &str) -> Result<Step, ()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        Ok(match words[..] {
            ["start", name] => Step::Start(client(name)?),
            [word @ ("map" | "look"), place, range] => Step::Map {
                place: place.parse()?,
                range: range.parse()?,
                writable: word == "map",
            },
            ["private", who, range] => Step::Private {
                who: who.parse()?,
                range: range.parse()?,
            },
            ["long", who] => Step::Long(who.parse()?),
            ["unmap", place] => Step::Unmap(place.parse()?),
            ["punch", place, part, rest] => Step::Punch {
                place: place.parse()?,
                part: part.parse()?,
                rest: number(rest)? as u32,
            },
            ["protect", place, part, middle, rest] => Step::Protect {
                place: place.parse()?,
                part: part.parse()?,
                middle: number(middle)? as u32,
                rest: number(rest)? as u32,
            },
            ["shift", place, part, middle, rest] => Step::Shift {
                place: place.parse()?,
                part: part.parse()?,
                middle: number(middle)? as u32,
                rest: number(rest)? as u32,
            },
            ["move", place, pages] => Step::Move {
                place: place.parse()?,
                pages: number(pages)?,
            },
            ["zap", place] => Step::Zap(place.parse()?),
            ["store", place, page, word] => Step::Store {
                place: place.parse()?,
                page: number(page)?,
                word: number(word)?,
            },
            ["load", place, page] => Step::Load {
                place: place.parse()?,
                page: number(page)?,
            },
            ["put", range, seed] => Step::Put {
                range: range.parse()?,
                seed: number(seed)?,
            },
            ["get", range] => Step::Get(range.parse()?),
            ["free", range] => Step::Free(range.parse()?),
            ["fork", parent, child] => Step::Fork {
                parent: client(parent)?,
                child: client(child)?,
            },
            ["quit", name] => Step::Quit(client(name)?),
            ["kill", name] => Step::Kill(client(name)?),
            ["limit", pages] => Step::Limit(number(pages)?),
            ["check"] => Step::Check,
            _ => return Err(()),
        })
    }
}

/// The number of a client, such as `c0`.
fn client(text: &str) -> Result<u32, ()> {
    number(text.strip_prefix('c').ok_or(())?).map(|number| number as u32)
}

fn number(text: &str) -> Result<u64, ()> {
    text.parse().map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_survives_its_text() {
        let script = "start c0; map c0.1 2+3; look s.2 0+1; private s 0+1; long c0; unmap c0.1; punch c0.1 1+1 4; \
                      protect c0.1 0+1 5 6; shift c0.1 2+1 7 8; move c0.1 2; zap s.2; store c0.1 0 77; load c0.1 2; put 2+3 9; get 0+6; \
                      free 1+1; fork c0 c1; quit c0; kill c1; limit 4; check";
        let steps = parse(script).unwrap();
        assert_eq!(steps.len(), 21);
        assert_eq!(text(&steps), script);
        assert_eq!(parse(" check ;\n check;").unwrap(), [Step::Check; 2]);
    }

    #[test]
    fn what_is_no_step_is_named() {
        for wrong in [
            "map c0 2+3",
            "start 0",
            "jump c0.1",
            "store c0.1 0",
            "get 3",
            "get 3+0",
        ] {
            let why = parse(&format!("check; {wrong}")).unwrap_err();
            assert_eq!(why, format!("no step: {wrong:?}"));
        }
    }
}
