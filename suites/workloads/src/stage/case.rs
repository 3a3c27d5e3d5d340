// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters and processes of a case.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::curve::Curve;
use protocol::plan::{Device, PlannedCase, Work};
use serde::de::DeserializeOwned;
use server::Behaviour;
use sys::Fd;

use crate::stage::client::Client;
use crate::stage::client_party::Source;
use crate::stage::failure::Failure;
use crate::stage::server::{Limits, Server};

/// Function of a case.
pub type Workload = fn(&mut Case) -> Result<(), Failure>;

/// A case: its parameters and figures, and methods that start servers and clients.
#[derive(Debug)]
pub struct Case {
    planned: PlannedCase,
    /// Figures that the case has measured, by name. The names end in the units: `_pages`, `_us`, `_mib_s`.
    pub figures: BTreeMap<String, f64>,
    /// Curves that the case has measured.
    pub curves: Vec<Curve>,
    servers: u32,
}

impl Case {
    /// Returns the planned case, without measurements.
    pub fn new(planned: PlannedCase) -> Case {
        Case { planned, figures: BTreeMap::new(), curves: Vec::new(), servers: 0 }
    }

    /// Returns the name of the case's suite.
    pub fn suite(&self) -> &str {
        self.planned.id.split('/').next().unwrap_or_default()
    }

    /// Returns the name of the case's function, as in `run:`. Empty if the case runs a program.
    pub fn function(&self) -> &str {
        match &self.planned.work {
            Work::Function(name) => name,
            Work::Program { .. } | Work::Command(_) => "",
        }
    }

    /// Returns the number of bytes after which the colours of the data cache repeat, or the page size if the cache does
    /// not alias.
    pub(crate) fn period(&self) -> u64 {
        self.planned.period
    }

    /// Returns true if the data cache can contain the same memory more than once.
    pub(crate) fn aliases(&self) -> bool {
        self.planned.aliases
    }

    /// Returns the time after which the case is killed. It includes the parameter `seconds`, and grows with the slowness of
    /// the machine.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.planned.deadline_ms)
    }

    /// Returns the parameter `name` of the case's `with:`.
    ///
    /// # Errors
    /// Fails if the parameter is missing or of another type.
    pub(crate) fn param<T: DeserializeOwned>(&self, name: &str) -> Result<T, Failure> {
        let value = self.planned.with.get(name).cloned();
        let value = value.ok_or_else(|| {
            Failure::new(format!("the case has no parameter {name:?}: add it to its `with:`"))
        })?;
        serde_json::from_value(value)
            .map_err(|error| Failure::new(format!("parameter {name:?} of the case: {error}")))
    }

    /// Returns the kind of file that servers offer.
    ///
    /// # Errors
    /// Fails if the case has no `devices:`.
    pub(crate) fn device(&self) -> Result<Device, Failure> {
        self.planned
            .device
            .ok_or_else(|| Failure::new("the case needs a server: give it `devices: [fuse, cuse]`"))
    }

    /// Starts a server with the default behaviour.
    pub(crate) fn serve(&mut self) -> Result<Server, Failure> {
        self.serve_as(Behaviour::default())
    }

    /// Starts a server with this behaviour.
    ///
    /// # Errors
    /// Fails if the case has no `devices:`, or the server cannot start.
    pub(crate) fn serve_as(&mut self, behaviour: Behaviour) -> Result<Server, Failure> {
        self.start_server(behaviour, &Limits::default())
    }

    /// Starts a server with this behaviour, and a client of it that has opened the file.
    pub(crate) fn serve_with_client(
        &mut self,
        behaviour: Behaviour,
    ) -> Result<(Server, Client), Failure> {
        let server = self.serve_as(behaviour)?;
        let client = self.client("client", &server)?;
        Ok((server, client))
    }

    /// Starts a server with the default behaviour and these limits.
    pub(crate) fn serve_with_limits(&mut self, limits: &Limits) -> Result<Server, Failure> {
        self.start_server(Behaviour::default(), limits)
    }

    fn start_server(&mut self, behaviour: Behaviour, limits: &Limits) -> Result<Server, Failure> {
        let device = self.device()?;
        let name = format!("dmmap{}", self.servers);
        self.servers += 1;
        Server::start(device, &name, behaviour, limits)
    }

    /// Gives the next server the name of the last one, which must have quit. A case that starts many servers one after
    /// the other then leaves one directory instead of many.
    pub(crate) fn reuse_server_name(&mut self) {
        self.servers -= 1;
    }

    /// Starts a client of `server` and opens the file.
    pub(crate) fn client(&self, name: &str, server: &Server) -> Result<Client, Failure> {
        let mut client = self.client_without_file(name, server)?;
        client.open()?;
        Ok(client)
    }

    /// Starts a client of `server` without opening the file.
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

    /// Records a figure, to be reported with the outcome.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.figures.insert(name.into(), value);
    }

    /// Prints a line to the log of the case.
    pub(crate) fn log(&self, line: &str) {
        // An error does not affect the outcome of the case.
        let _ = sys::print_line(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        Case::new(PlannedCase {
            id: "smoke/open.fuse".into(),
            work: Work::Function("open".into()),
            device: None,
            with: BTreeMap::from([("rounds".into(), "three".into())]),
            period: 4096,
            aliases: false,
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
