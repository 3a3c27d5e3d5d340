// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/init case`: the process of one case. It reads its plan from descriptor 0, prints to descriptors 1 and 2, and
//! writes its report, one line of JSON, to descriptor 3.

use std::collections::BTreeMap;

use protocol::curve::Curve;
use protocol::plan::PlannedCase;
use protocol::record::Outcome;
use sys::Fd;
use workloads::Case;

/// First argument of a process that runs a case.
pub(crate) const SUBCOMMAND: &str = "case";

/// Runs the case and writes the report. The parent treats a missing report as a failure.
pub(crate) fn main() {
    let report = Fd::inherited(3);
    sys::name_process("case");
    let line = match planned() {
        Err(reason) => as_line(&Outcome::Fail { reason }, &BTreeMap::new(), &[]),
        Ok(planned) => {
            let mut case = Case::new(planned);
            let outcome = run(&mut case);
            as_line(&outcome, &case.figures, &case.curves)
        }
    };
    if let Err(error) = report.write_all(line.as_bytes()) {
        let _ = sys::print_line(&format!("cannot send the report of the case: {error}"));
    }
}

fn planned() -> Result<PlannedCase, String> {
    let text = Fd::inherited(0).read_to_end().map_err(|error| error.to_string())?;
    serde_json::from_slice(&text)
        .map_err(|error| format!("cannot parse the plan of the case: {error}"))
}

fn run(case: &mut Case) -> Outcome {
    match workloads::find(case.suite(), case.function()) {
        None => Outcome::Fail {
            reason: format!(
                "the workloads crate has no function {:?} for the suite {:?}",
                case.function(),
                case.suite()
            ),
        },
        Some(workload) => match workload(case) {
            Ok(()) => Outcome::Pass,
            Err(failure) => failure.into_outcome(),
        },
    }
}

fn as_line(outcome: &Outcome, figures: &BTreeMap<String, f64>, curves: &[Curve]) -> String {
    serde_json::to_string(&(outcome, figures, curves)).expect("a report is plain data") + "\n"
}
