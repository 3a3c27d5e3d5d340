// SPDX-License-Identifier: MIT OR Apache-2.0
//! PID 1 of the guest: finds the plan, runs each case in processes of its own, reports, and ends the machine.
//!
//! The same program is started again as `/init case` for each case: see [`case`].

mod audit;
mod boot;
mod case;
mod cleanup;
mod coverage;
mod logs;
mod oracle;
mod records;
mod run;
mod shell;
mod supervise;

use protocol::plan::{Mode, PATH, Plan, VERSION};

fn main() {
    // What std would print goes to a descriptor it knows; ours must work on machines std does not know as well.
    std::panic::set_hook(Box::new(|info| {
        let _ = sys::print_line(&info.to_string());
    }));
    if let Err(error) = sys::let_data_be_data() {
        let _ = sys::print_line(&format!("init: {error}"));
    }
    if sys::args().get(1).is_some_and(|word| word == case::WORD) {
        return case::main();
    }
    if sys::own_pid() != sys::Pid(1) {
        let _ = sys::print_line("this is the first program of a guest and does nothing elsewhere");
        sys::exit(2);
    }
    if let Err(why) = live() {
        let _ = sys::print_line(&format!("init: {why}"));
    }
    if let Err(error) = sys::restart() {
        // PID 1 may not end; the kernel would panic, and that would look like something else.
        let _ = sys::print_line(&format!("init: {error}"));
        loop {
            sys::sleep(std::time::Duration::from_secs(3600));
        }
    }
}

/// Everything between the start and the end of the machine.
fn live() -> Result<(), String> {
    let plan = read_plan()?;
    if plan.mode == Mode::Halt {
        return Ok(());
    }
    boot::mount_all()?;
    boot::settle()?;
    match plan.mode {
        Mode::Halt => Ok(()),
        Mode::Run => run::run(&plan),
        Mode::Shell => shell::shell(&plan),
    }
}

fn read_plan() -> Result<Plan, String> {
    let text = sys::read_text(PATH).map_err(|error| error.to_string())?;
    let plan: Plan = serde_json::from_str(&text)
        .map_err(|error| format!("{PATH} is no plan this guest understands: {error}"))?;
    match plan.version {
        VERSION => Ok(plan),
        other => Err(format!(
            "{PATH} has version {other}; this guest understands {VERSION}: build both from one checkout"
        )),
    }
}
