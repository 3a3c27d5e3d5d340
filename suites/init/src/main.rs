// SPDX-License-Identifier: MIT OR Apache-2.0
//! PID 1 of the guest. It reads the plan, runs each case in a process of its own, reports the outcome, and restarts the
//! machine.
//!
//! For each case it executes itself as `/init case`: see [`case`].

mod audit;
mod boot;
mod case;
mod cleanup;
mod coverage;
mod logs;
mod oracle;
mod program;
mod records;
mod run;
mod shell;
mod supervise;
mod symbols;

use protocol::plan::{Mode, PATH, Plan, VERSION};

fn main() {
    // std's own panic hook prints nothing where the guest is built through WebAssembly.
    std::panic::set_hook(Box::new(|info| {
        let _ = sys::print_line(&info.to_string());
    }));
    if let Err(error) = sys::disable_read_implies_exec() {
        let _ = sys::print_line(&format!("init: {error}"));
    }
    if sys::args().get(1).is_some_and(|word| word == case::SUBCOMMAND) {
        return case::main();
    }
    if sys::own_pid() != sys::Pid(1) {
        let _ = sys::print_line("init: must be started as PID 1 of a guest");
        sys::exit(2);
    }
    if let Err(error) = run_guest() {
        let _ = sys::print_line(&format!("init: {error}"));
    }
    if let Err(error) = sys::restart() {
        // The kernel panics when PID 1 ends, and the host would report that panic instead of this error.
        let _ = sys::print_line(&format!("init: {error}"));
        loop {
            sys::sleep(std::time::Duration::from_secs(3600));
        }
    }
}

fn run_guest() -> Result<(), String> {
    let plan = read_plan()?;
    if plan.mode == Mode::Halt {
        return Ok(());
    }
    boot::prepare()?;
    boot::apply_settings()?;
    match plan.mode {
        Mode::Halt => Ok(()),
        Mode::Run => run::run(&plan),
        Mode::Shell => shell::shell(&plan),
        Mode::Symbols => run::send_symbols(&plan),
    }
}

fn read_plan() -> Result<Plan, String> {
    let text = sys::read_text(PATH).map_err(|error| error.to_string())?;
    let plan: Plan = serde_json::from_str(&text)
        .map_err(|error| format!("cannot parse the plan {PATH}: {error}"))?;
    match plan.version {
        VERSION => Ok(plan),
        other => Err(format!(
            "the plan {PATH} has version {other}, but this guest needs version {VERSION}; build xtask and the guest \
             from the same checkout"
        )),
    }
}
