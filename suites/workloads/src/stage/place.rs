// SPDX-License-Identifier: MIT OR Apache-2.0
//! Place of a server in the filesystem: a mount point, or a device.

use protocol::plan::Device;
use server::{Behaviour, ServerError, Session};

use crate::stage::counters;
use crate::stage::failure::Failure;

/// Place at which a server serves its file.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) device: Device,
    /// Mount point of the filesystem, or name of the device.
    at: String,
}

impl Place {
    /// Returns the place of a server called `name`. Creates the mount point if there is none yet.
    pub(crate) fn make(device: Device, name: &str) -> Result<Place, Failure> {
        let at = match device {
            Device::Fuse => format!("/run/dmmap/{name}"),
            Device::Cuse => name.to_owned(),
        };
        if device == Device::Fuse && !sys::exists(&at) {
            sys::make_dir(&at)?;
        }
        Ok(Place { device, at })
    }

    /// Mounts the filesystem or creates the device.
    pub(crate) fn serve(&self, behaviour: Behaviour) -> Result<Session, ServerError> {
        match self.device {
            Device::Fuse => Session::mount(&self.at, behaviour),
            Device::Cuse => Session::create(&self.at, behaviour),
        }
    }

    /// Returns the path of the file that clients open.
    pub(crate) fn file(&self) -> String {
        match self.device {
            Device::Fuse => format!("{}/{}", self.at, Session::FILE),
            Device::Cuse => format!("/dev/{}", self.at),
        }
    }

    /// Returns the directory of the counters of the connection that serves this place.
    pub(crate) fn counters(&self) -> Result<String, Failure> {
        match self.device {
            Device::Fuse => counters::dir_of_mount(&self.at),
            Device::Cuse => Ok(format!("/sys/class/cuse/{}", self.at)),
        }
    }

    /// Unmounts the filesystem. A device disappears with its server.
    pub(crate) fn unmount(&self) -> Result<(), Failure> {
        match self.device {
            Device::Fuse => Ok(sys::unmount(&self.at)?),
            Device::Cuse => Ok(()),
        }
    }
}
