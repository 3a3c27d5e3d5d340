// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows a run on standard output.
//!
//! On a terminal, each target has a status line at the bottom, and permanent output is printed above these lines. In a
//! file, in a pipe or under CI, only permanent output is printed, with a progress line now and then.
//!
//! The module `view` decides what to print, `text` makes the texts, and this module writes them to the screen.

pub(crate) mod program;
mod text;
mod view;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::event::{Event, Events, Reporter, TargetEvent};
use crate::output::out;
use crate::results::{Phase, RunResult};
use crate::text::words::clock;
use text::Paint;
use view::View;

/// Amount of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Only status lines, if there is a terminal.
    Status,
    /// Failures, notes and the summary.
    Quiet,
    /// Also phases and progress.
    #[default]
    Normal,
    /// Also a line for each case.
    Verbose,
}

impl Verbosity {
    /// Returns the amount of output for the flags `--verbose` and `--quiet`.
    pub(crate) fn of_flags(verbose: bool, quiet: bool) -> Self {
        match (verbose, quiet) {
            (_, true) => Self::Quiet,
            (true, false) => Self::Verbose,
            (false, false) => Self::Normal,
        }
    }
}

/// Returns the name and the results of the run to compare a run with, if there is one.
type FindPrevious = Box<dyn Fn(&RunResult) -> Option<(String, RunResult)> + Send>;

/// Options of the terminal output.
pub(crate) struct TermOptions {
    verbosity: Verbosity,
    rerun: String,
    previous: Option<FindPrevious>,
}

impl TermOptions {
    /// Returns options. `rerun` is the command that repeats the run, without the options for targets, kernel versions and cases:
    /// `cargo xtask test --flavour debug`.
    pub(crate) fn new(verbosity: Verbosity, rerun: &str) -> Self {
        Self { verbosity, rerun: rerun.to_owned(), previous: None }
    }

    /// Shows at the end of the run what differs from the results of the run that `previous` finds.
    pub(crate) fn compared_with(
        mut self,
        previous: impl Fn(&RunResult) -> Option<(String, RunResult)> + Send + 'static,
    ) -> Self {
        self.previous = Some(Box::new(previous));
        self
    }
}

/// Returns an event bus that only the terminal listens to.
pub(crate) fn to_terminal(options: TermOptions) -> Events {
    Events::new(vec![Box::new(Term::new(options))])
}

/// Shows a run on standard output.
pub(crate) struct Term {
    view: View,
    started: Instant,
    screen: Screen,
}

enum Screen {
    /// A terminal, with a status line for each target at the bottom.
    Live(MultiProgress, BTreeMap<String, ProgressBar>),
    /// Output without status lines and colours.
    Plain,
}

impl Term {
    /// Creates a reporter that uses status lines and colours if standard output and the environment allow them.
    pub(crate) fn new(options: TermOptions) -> Self {
        let live = is_live();
        let screen = if live {
            let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
            Screen::Live(bars, BTreeMap::new())
        } else {
            Screen::Plain
        };
        Self {
            view: View::new(options, live, Paint { colour: live }),
            started: Instant::now(),
            screen,
        }
    }
}

/// Removes the status lines, even if the run ends with an error.
impl Drop for Term {
    fn drop(&mut self) {
        if let Screen::Live(all, _) = &self.screen {
            let _ = all.clear();
        }
    }
}

impl Reporter for Term {
    fn event(&mut self, event: &Event) {
        let text = self.view.handle(event, self.started.elapsed());
        match &mut self.screen {
            Screen::Plain => out!("{text}"),
            Screen::Live(all, bars) => {
                if let Event::Target { target, event } = event {
                    match event {
                        TargetEvent::Start { .. } => drop(bars.insert(target.clone(), bar(all))),
                        TargetEvent::Phase { .. } => {
                            bars.get(target).inspect(|bar| bar.reset_elapsed());
                        }
                        TargetEvent::End(_) => {
                            bars.remove(target).inspect(ProgressBar::finish_and_clear);
                        }
                        _ => {}
                    }
                }
                for (target, bar) in bars.iter() {
                    bar.set_message(self.view.status_line(target));
                }
                if !text.is_empty() {
                    all.suspend(|| out!("{text}"));
                }
            }
        }
    }
}

/// Prints the summary of a run whose files are not on this machine.
pub(crate) fn print_summary(result: &RunResult) {
    out!("{}", text::summary(result, None, "", Paint { colour: is_live() }));
}

/// Prints the verdict of a run on one line, after the time `clock`.
pub(crate) fn print_verdict(clock: &str, result: &RunResult) {
    out!("{clock}  {}\n", text::verdict_line(result, Paint { colour: is_live() }));
}

/// Starts to show the build of `target`'s kernel outside a run. Returns the function that reports progress: the number
/// of steps that are done, the number of all steps, and the current step. The output ends when it is dropped.
pub(crate) fn build_bar(target: &str) -> impl Fn(u64, Option<u64>, String) {
    let events = to_terminal(TermOptions::new(Verbosity::Normal, "cargo xtask build"));
    let target = target.to_owned();
    events.send_of(&target, TargetEvent::Start { options: String::new() });
    events.send_of(&target, TargetEvent::Phase { phase: Phase::Kernel, detail: String::new() });
    move |done, of, what| events.send_of(&target, TargetEvent::Progress { done, of, what })
}

/// Creates a status line: the time since the start of the phase, then the text from the view.
fn bar(all: &MultiProgress) -> ProgressBar {
    let style = ProgressStyle::with_template("{clock:>7} {wide_msg}")
        .expect("the template is valid")
        .with_key("clock", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&clock(state.elapsed()));
        });
    let bar = all.add(ProgressBar::new_spinner());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

fn is_live() -> bool {
    allows_live(console::Term::stdout().is_term(), |name| std::env::var_os(name))
}

/// Returns true if the output may move the cursor and use colours. `variable` reads the environment.
fn allows_live(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_none_or(|term| term == "dumb");
    is_terminal && !dumb && !set("NO_COLOR") && !set("CI")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_need_a_terminal_without_no_color_and_ci() {
        let with = |is_terminal, variables: &[(&str, &str)]| {
            allows_live(is_terminal, |name| {
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
