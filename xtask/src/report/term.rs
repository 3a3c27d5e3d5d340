// SPDX-License-Identifier: MIT OR Apache-2.0
//! Terminal: a run as a person sees it.
//!
//! On a terminal a line a target lives at the bottom and everything that stays is printed above it. Anywhere else
//! (a file, a pipe, CI) only the latter is printed, with lines of progress now and then so that a log can be read.
//! What is said is decided in `view` and put in words in `text`; here it is only brought to the screen.

mod text;
mod view;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::event::Events;
use crate::event::{Event, Reporter};
use crate::results::{Phase, RunResult};
use crate::text::words::clock;
use text::Paint;
use view::View;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Failures, notes and the summary.
    Quiet,
    /// What is being done, too.
    #[default]
    Normal,
    /// A line for each case, too.
    Verbose,
}

/// How a run is shown.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    verbosity: Verbosity,
    again: String,
}

impl Style {
    /// As a person asked for on the command line.
    pub(crate) fn new(verbose: bool, quiet: bool) -> Self {
        Self {
            verbosity: match (verbose, quiet) {
                (_, true) => Verbosity::Quiet,
                (true, false) => Verbosity::Verbose,
                (false, false) => Verbosity::Normal,
            },
            again: "cargo xtask test".into(),
        }
    }

    /// With `command` as what runs this again, without what chooses targets and cases:
    /// `cargo xtask test --flavour debug`.
    pub(crate) fn again(mut self, command: impl Into<String>) -> Self {
        self.again = command.into();
        self
    }
}

/// Returns a bus that leads to the terminal alone.
pub(crate) fn to_terminal(style: Style) -> Events {
    Events::new(vec![Box::new(Term::new(style))])
}

/// Shows a run on standard output.
pub(crate) struct Term {
    view: View,
    started: Instant,
    screen: Screen,
}

enum Screen {
    /// A terminal, with a line for each target at the bottom.
    Live(MultiProgress, BTreeMap<String, ProgressBar>),
    /// Anything else.
    Plain,
}

impl Term {
    /// Shows a run as standard output and the environment allow.
    pub(crate) fn new(style: Style) -> Self {
        let live = is_live();
        let screen = if live {
            let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
            Screen::Live(bars, BTreeMap::new())
        } else {
            Screen::Plain
        };
        Self {
            view: View::new(style, live, Paint { colour: live }),
            started: Instant::now(),
            screen,
        }
    }
}

/// Whatever ends the run, its live lines go.
impl Drop for Term {
    fn drop(&mut self) {
        if let Screen::Live(all, _) = &self.screen {
            let _ = all.clear();
        }
    }
}

impl Reporter for Term {
    fn event(&mut self, event: &Event) {
        let text = self.view.hear(event, self.started.elapsed());
        match &mut self.screen {
            Screen::Plain => print(&text),
            Screen::Live(all, bars) => {
                match event {
                    Event::TargetStart { target } => {
                        bars.insert(target.clone(), bar(all));
                    }
                    Event::Phase { target, .. } => {
                        bars.get(target).inspect(|bar| bar.reset_elapsed());
                    }
                    Event::TargetEnd { result } => {
                        bars.remove(&result.target)
                            .inspect(ProgressBar::finish_and_clear);
                    }
                    _ => {}
                }
                for (target, bar) in bars.iter() {
                    bar.set_message(self.view.live_line(target));
                }
                if !text.is_empty() {
                    all.suspend(|| print(&text));
                }
            }
        }
    }
}

/// Shows the end of a run whose files lie elsewhere.
pub(crate) fn print_summary(result: &RunResult) {
    let live = is_live();
    print(&text::summary(result, None, Paint { colour: live }));
}

/// Shows the build of a kernel alone, with the terminal's usual manners.
pub(crate) struct BuildBar {
    events: Events,
    target: String,
}

/// Begins to show the build of `target`'s kernel.
pub(crate) fn build_bar(target: &str) -> BuildBar {
    let events = to_terminal(Style::new(false, false));
    let target = target.to_owned();
    events.send(Event::TargetStart {
        target: target.clone(),
    });
    events.send(Event::Phase {
        target: target.clone(),
        phase: Phase::Kernel,
        detail: String::new(),
    });
    BuildBar { events, target }
}

impl BuildBar {
    /// Something moved: `done` steps `of` so many, `what` right now.
    pub(crate) fn step(&self, done: u64, of: Option<u64>, what: &str) {
        self.events.send(Event::Progress {
            target: self.target.clone(),
            done,
            of,
            what: what.into(),
        });
    }

    /// The build is over.
    pub(crate) fn finish(self) {}
}

/// A live line: the view's words, and how long the phase has been going on.
fn bar(all: &MultiProgress) -> ProgressBar {
    let style = ProgressStyle::with_template("{clock:>7} {wide_msg}")
        .expect("the template is right")
        .with_key(
            "clock",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&clock(state.elapsed()));
            },
        );
    let bar = all.add(ProgressBar::new_spinner());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// A reader that went away (`| head`) is no reason to stop the run.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn is_live() -> bool {
    wants_live(console::Term::stdout().is_term(), |name| {
        std::env::var_os(name)
    })
}

/// Whether to move the cursor and use colours, given whether this is a terminal and the environment.
fn wants_live(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_none_or(|term| term == "dumb");
    is_terminal && !dumb && !set("NO_COLOR") && !set("CI")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_terminal_with_a_person_at_it_is_live() {
        let with = |is_terminal, variables: &[(&str, &str)]| {
            wants_live(is_terminal, |name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.into())
            })
        };
        assert!(with(true, &[("TERM", "xterm")]));
        assert!(with(true, &[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!with(false, &[("TERM", "xterm")]));
        assert!(!with(true, &[("TERM", "dumb")]));
        assert!(!with(true, &[]));
        assert!(!with(true, &[("TERM", "xterm"), ("NO_COLOR", "1")]));
        assert!(!with(true, &[("TERM", "xterm"), ("CI", "true")]));
    }
}
