//! The roles of the binary, as the configuration sees them.
//!
//! A role decides three things here: which built-in defaults hold, which keys mean something, and which of the
//! prefixed variables (`COORDINATOR_…`, `WORKER_…`, `API_GATEWAY_…`) are read. It owns no behaviour of a role.

use std::fmt;
use std::str::FromStr;

/// What the process is started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An all-in-one node that submits one example task, checks its proof and ends.
    Demo,
    /// An all-in-one node on the loopback interface, for development.
    Dev,
    /// A Raft member with the scheduler.
    Coordinator,
    /// A process that only proves.
    Worker,
    /// The stateless public door.
    Gateway,
}

impl Role {
    /// Every role, in the order in which the documentation names them.
    pub const ALL: [Role; 5] = [Role::Demo, Role::Dev, Role::Coordinator, Role::Worker, Role::Gateway];

    /// The name of the subcommand that starts this role.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Demo => "demo",
            Role::Dev => "dev",
            Role::Coordinator => "coordinator",
            Role::Worker => "worker",
            Role::Gateway => "gateway",
        }
    }

    /// Whether the whole service lives in this one process.
    #[must_use]
    pub fn is_all_in_one(self) -> bool {
        matches!(self, Role::Demo | Role::Dev)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A role's name that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role {0:?}: expected demo, dev, coordinator, worker or gateway")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Role::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// A set of roles; `demo` and `dev` are one member, since they differ in defaults only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles(u8);

impl Roles {
    const ALL_IN_ONE: u8 = 1;
    const COORDINATOR: u8 = 2;
    const WORKER: u8 = 4;
    const GATEWAY: u8 = 8;

    /// Every role.
    pub(crate) const ALL: Roles = Roles(15);
    /// Those that hold the ledger.
    pub(crate) const LEDGER: Roles = Roles(Self::ALL_IN_ONE | Self::COORDINATOR);
    /// Those that prove.
    pub(crate) const PROVING: Roles = Roles(Self::ALL_IN_ONE | Self::WORKER);
    /// Those that hold proving or verifying keys.
    pub(crate) const KEYS: Roles = Roles(Self::ALL_IN_ONE | Self::COORDINATOR | Self::WORKER);
    /// Those that serve the task API.
    pub(crate) const API: Roles = Roles(Self::ALL_IN_ONE | Self::COORDINATOR | Self::GATEWAY);
    /// Coordinators of a cluster only.
    pub(crate) const CLUSTER: Roles = Roles(Self::COORDINATOR);
    /// Workers as processes of their own only.
    pub(crate) const REMOTE_WORKER: Roles = Roles(Self::WORKER);
    /// Gateways only.
    pub(crate) const DOOR: Roles = Roles(Self::GATEWAY);

    pub(crate) fn contains(self, role: Role) -> bool {
        let bit = match role {
            Role::Demo | Role::Dev => Self::ALL_IN_ONE,
            Role::Coordinator => Self::COORDINATOR,
            Role::Worker => Self::WORKER,
            Role::Gateway => Self::GATEWAY,
        };
        self.0 & bit != 0
    }
}
