// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a case's function is given.

use std::collections::BTreeMap;

use protocol::plan::PlannedCase;
use serde::de::DeserializeOwned;
use server::Behaviour;
use sys::Fd;

use crate::stage::client::Client;
use crate::stage::client_party::Source;
use crate::stage::failure::Failure;
use crate::stage::server::{Limits, Server};

/// A case's function.
pub type Workload = fn(&mut Case) -> Result<(), Failure>;

/// What a case's function is given: its parameters, and the means to start a server and clients.
#[derive(Debug)]
pub struct Case {
    planned: PlannedCase,
    /// Figures the case takes, by name. Units are in the names: `_pages`, `_us`, `_mib_s`.
    pub figures: BTreeMap<String, f64>,
    servers: u32,
}

impl Case {
    /// The case as planned.
    pub fn new(planned: PlannedCase) -> Case {
        Case {
            planned,
            figures: BTreeMap::new(),
            servers: 0,
        }
    }

    /// Name of the case's suite.
    pub fn suite(&self) -> &str {
        self.planned.id.split('/').next().unwrap_or_default()
    }

    /// Name of the case's function, as the suite has it after `run:`.
    pub fn function(&self) -> &str {
        &self.planned.run
    }

    /// Bytes after which the colours of the machine's data cache repeat; a page where nothing aliases.
    pub(crate) fn period(&self) -> u64 {
        self.planned.period
    }

    /// The parameter `name` of the case's `with:`.
    ///
    /// # Errors
    /// It is missing or of another kind.
    pub(crate) fn param<T: DeserializeOwned>(&self, name: &str) -> Result<T, Failure> {
        let value = self.planned.with.get(name).cloned();
        let value = value.ok_or_else(|| {
            Failure::new(format!(
                "the case has no parameter {name:?}: add it to its `with:`"
            ))
        })?;
        serde_json::from_value(value)
            .map_err(|error| Failure::new(format!("parameter {name:?} of the case: {error}")))
    }

    /// Starts a server that does everything right.
    pub(crate) fn serve(&mut self) -> Result<Server, Failure> {
        self.serve_as(Behaviour::default())
    }

    /// Starts a server.
    ///
    /// # Errors
    /// The case has no `devices:`, or the server could not start.
    pub(crate) fn serve_as(&mut self, behaviour: Behaviour) -> Result<Server, Failure> {
        self.start_server(behaviour, &Limits::default())
    }

    /// Starts a server that does everything right and is held to something.
    pub(crate) fn serve_with_limits(&mut self, limits: &Limits) -> Result<Server, Failure> {
        self.start_server(Behaviour::default(), limits)
    }

    fn start_server(&mut self, behaviour: Behaviour, limits: &Limits) -> Result<Server, Failure> {
        let device = self.planned.device.ok_or_else(|| {
            Failure::new("the case needs a server: give it `devices: [fuse, cuse]`")
        })?;
        let name = format!("dmmap{}", self.servers);
        self.servers += 1;
        Server::start(device, &name, behaviour, limits)
    }

    /// The next server may have the name of the last one, of which nothing is left. Where there are many, one after the
    /// other, they leave no directories behind.
    pub(crate) fn reuse_server_name(&mut self) {
        self.servers -= 1;
    }

    /// Starts a client of `server`, with the file open.
    pub(crate) fn client(&self, name: &str, server: &Server) -> Result<Client, Failure> {
        let mut client = self.client_without_file(name, server)?;
        client.open()?;
        Ok(client)
    }

    /// Starts a client of `server` that has not opened the file yet.
    pub(crate) fn client_without_file(
        &self,
        name: &str,
        server: &Server,
    ) -> Result<Client, Failure> {
        Client::start(name, &Source::Path(server.path.clone()))
    }

    /// Starts a process that maps `fd`.
    pub(crate) fn client_of(&self, name: &str, fd: &Fd) -> Result<Client, Failure> {
        Client::start(name, &Source::Descriptor(fd))
    }

    /// Notes a figure.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.figures.insert(name.into(), value);
    }

    /// Prints a line into the log of the case.
    pub(crate) fn log(&self, line: &str) {
        // A log that cannot be written changes nothing about what the case finds.
        let _ = sys::print_line(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        Case::new(PlannedCase {
            id: "smoke/open.fuse".into(),
            run: "open".into(),
            device: None,
            with: BTreeMap::from([("rounds".into(), "three".into())]),
            period: 4096,
            deadline_ms: 1000,
        })
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        let reason = |failure| match failure {
            Failure::Fail(reason) | Failure::Skip(reason) => reason,
        };
        let missing = case().param::<u64>("pages").unwrap_err();
        insta::assert_snapshot!(reason(missing), @"the case has no parameter \"pages\": add it to its `with:`");
        let wrong = case().param::<u64>("rounds").unwrap_err();
        insta::assert_snapshot!(reason(wrong), @"parameter \"rounds\" of the case: invalid type: string \"three\", expected u64");
        let serverless = case().serve().unwrap_err();
        insta::assert_snapshot!(reason(serverless), @"the case needs a server: give it `devices: [fuse, cuse]`");
    }

    #[test]
    fn the_suite_is_the_first_part_of_the_id() {
        assert_eq!(case().suite(), "smoke");
    }
}
