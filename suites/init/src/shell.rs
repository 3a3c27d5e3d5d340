// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interactive shell on the console: busybox if the image has it, otherwise a few built-in commands.

use protocol::plan::Plan;
use protocol::record::{Outcome, Record};
use sys::{Fd, ForkResult, OpenFlags, list_dir, print_line, read_text};

use crate::boot::kernel_log;
use crate::oracle::Oracle;
use crate::run::run_case;

const BUSYBOX: &str = "/bin/busybox";

const HELP: &str = "\
cases                 list the cases of the plan
run CASE              run one case
cat FILE              print a file
ls [DIR]              list a directory
write FILE TEXT       write TEXT to a file
mount                 list the mounts
dmesg                 print the kernel log
exit                  restart the machine, which ends QEMU";

/// Runs the shell until the user exits.
pub(crate) fn shell(plan: &Plan) -> Result<(), String> {
    if sys::exists(BUSYBOX) {
        return busybox().map_err(|error| error.to_string());
    }
    print("This image has no busybox; `help` lists the commands.");
    let input = Fd::inherited(0);
    let mut typed = Vec::new();
    loop {
        let prompt = std::mem::ManuallyDrop::new(Fd::inherited(1));
        let _ = prompt.write_all(b"dmmap> ");
        let mut piece = [0; 1024];
        loop {
            match input.read(&mut piece).map_err(|error| error.to_string())? {
                0 => return Ok(()),
                n => typed.extend_from_slice(&piece[..n]),
            }
            if typed.ends_with(b"\n") {
                break;
            }
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut typed)).into_owned();
        if line.trim() == "exit" {
            return Ok(());
        }
        for line in execute(plan, line.trim()).lines() {
            print(line);
        }
    }
}

fn print(line: &str) {
    let _ = print_line(line);
}

fn execute(plan: &Plan, line: &str) -> String {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let output = match command {
        "" => Ok(String::new()),
        "help" => Ok(HELP.into()),
        "cases" => Ok(plan.cases.iter().map(|case| format!("{}\n", case.id)).collect()),
        "run" => return run(plan, rest),
        "cat" => read_text(rest),
        "ls" => list_dir(if rest.is_empty() { "/" } else { rest }).map(|names| names.join("\n")),
        "mount" => read_text("/proc/mounts"),
        "dmesg" => kernel_log().map(|records| {
            records.iter().filter_map(|record| Some(record.split_once(';')?.1)).collect()
        }),
        "write" => {
            let (file, text) = rest.split_once(' ').unwrap_or((rest, ""));
            sys::write_file(file, text.as_bytes()).map(|()| String::new())
        }
        _ => Ok(format!("{command}: unknown command; `help` lists the commands")),
    };
    output.unwrap_or_else(|error| error.to_string())
}

fn run(plan: &Plan, id: &str) -> String {
    let mut cases = plan.cases.iter().enumerate();
    let Some((index, planned)) = cases.find(|(_, case)| case.id == id) else {
        return format!("{id}: no such case; `cases` lists them");
    };
    run_case(index, planned, Oracle::OFF, &mut |record| match record {
        Record::Log { line, .. } => print(&line),
        Record::Curve { curve, .. } => print(&curve.line()),
        Record::CaseEnd { outcome, millis, figures, .. } => {
            print(&format!("{} ({millis} ms)", describe(&outcome)));
            for (name, value) in figures {
                print(&format!("  {name}: {value}"));
            }
        }
        _ => {}
    });
    String::new()
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pass => "passed".into(),
        Outcome::Fail { reason } => format!("failed: {reason}"),
        Outcome::Skip { reason } => format!("skipped: {reason}"),
        Outcome::Timeout => "missed its deadline".into(),
    }
}

/// Runs a busybox shell on the terminal behind the console, so that Ctrl-C interrupts a command.
fn busybox() -> sys::Result<()> {
    let active = read_text("/sys/class/tty/console/active")?;
    let name = active.split_whitespace().last().unwrap_or("console");
    match sys::fork()? {
        ForkResult::Parent(pid) => sys::wait(pid).map(drop),
        ForkResult::Child => {
            let become_shell = || {
                sys::new_session()?;
                // The first terminal that a session leader opens becomes its controlling terminal.
                let flags = OpenFlags::READ | OpenFlags::WRITE;
                let terminal = Fd::open(&format!("/dev/{name}"), flags)?;
                sys::replace_stdio(&[&terminal, &terminal, &terminal])?;
                sys::exec(BUSYBOX, &["sh"])
            };
            if let Err(error) = become_shell() {
                print(&error.to_string());
            }
            sys::exit(127)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_described_in_words() {
        assert_eq!(describe(&Outcome::Pass), "passed");
        assert_eq!(describe(&Outcome::Timeout), "missed its deadline");
        let reason = "no memory cgroups".to_owned();
        insta::assert_snapshot!(describe(&Outcome::Skip { reason }), @"skipped: no memory cgroups");
        let reason = "expected 3, found 4".to_owned();
        insta::assert_snapshot!(describe(&Outcome::Fail { reason }), @"failed: expected 3, found 4");
    }
}
