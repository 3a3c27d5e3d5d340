// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events as lines of JSON, for programs that follow a run: `--message-format json`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::event::{Event, Events, Reporter};
use crate::output::outln;

/// Version of the layout of a line. `docs/events.md` describes which changes need a new one.
pub(crate) const VERSION: u32 = 1;

/// One line.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Line<'a> {
    /// Version of the layout.
    #[schemars(extend("const" = VERSION))]
    version: u32,
    #[serde(flatten)]
    event: &'a Event,
}

/// Returns an event bus that prints each event to standard output.
pub(crate) fn to_output() -> Events {
    Events::new(vec![Box::new(Printer)])
}

struct Printer;

impl Reporter for Printer {
    fn event(&mut self, event: &Event) {
        outln!("{}", line(event));
    }
}

/// Renders an event, without a line break.
pub(crate) fn line(event: &Event) -> String {
    serde_json::to_string(&Line { version: VERSION, event }).expect("all keys are text")
}

#[cfg(test)]
mod tests {
    use protocol::record::Stream;

    use super::*;
    use crate::event::TargetEvent;
    use crate::results::Phase;

    fn of_target(event: TargetEvent) -> String {
        line(&Event::Target { target: "armv6".into(), event })
    }

    #[test]
    fn an_event_is_one_line() {
        let start = Event::RunStart {
            run_dir: "/lab/target/lab/r".into(),
            targets: vec!["armv6".into()],
            cases: 2,
        };
        insta::assert_snapshot!(line(&start), @r#"{"version":1,"type":"run-start","run_dir":"/lab/target/lab/r","targets":["armv6"],"cases":2}"#);
        let phase = TargetEvent::Phase { phase: Phase::Boot, detail: "boot 1".into() };
        insta::assert_snapshot!(of_target(phase), @r#"{"version":1,"type":"target","target":"armv6","event":{"type":"phase","data":{"phase":"boot","detail":"boot 1"}}}"#);
        insta::assert_snapshot!(of_target(TargetEvent::Note("two\nlines".into())), @r#"{"version":1,"type":"target","target":"armv6","event":{"type":"note","data":"two\nlines"}}"#);
        let output = TargetEvent::Output { stream: Stream::Stderr, bytes: b"a\xff\n".into() };
        insta::assert_snapshot!(of_target(output), @r#"{"version":1,"type":"target","target":"armv6","event":{"type":"output","data":{"stream":"stderr","text":"a�\n"}}}"#);
    }

    #[test]
    fn the_document_names_every_event_and_the_version() {
        let document = include_str!("../../../docs/events.md");
        assert!(document.contains(&format!("## Events, version {VERSION}")));
        let schema = crate::schema::render(crate::schema::Kind::Events);
        let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
        let mut names = Vec::new();
        collect_types(&schema, &mut names);
        assert_eq!(names.len(), 3 + 9, "{names:?}");
        for name in names {
            assert!(document.contains(&format!("| `{name}` |")), "{name}");
        }
    }

    /// Collects the values of the tags.
    fn collect_types(schema: &serde_json::Value, names: &mut Vec<String>) {
        let Some(map) = schema.as_object() else {
            schema.as_array().into_iter().flatten().for_each(|item| collect_types(item, names));
            return;
        };
        names.extend(
            schema
                .pointer("/properties/type/const")
                .map(|name| name.as_str().expect("a tag is text").to_owned()),
        );
        map.values().for_each(|value| collect_types(value, names));
    }
}
