//! Where the archive is and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How far the connection is protected, in libpq's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArchiveSslMode {
    /// Never TLS.
    Disable,
    /// TLS when the server offers it.
    #[default]
    Prefer,
    /// TLS, whatever certificate the server shows.
    Require,
    /// TLS, with a certificate of a trusted authority, whatever its name.
    VerifyCa,
    /// TLS, with a certificate of a trusted authority for the host's name.
    VerifyFull,
}

impl ArchiveSslMode {
    /// Whether the server's certificate is checked, for which the authorities must be known.
    #[must_use]
    pub const fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

/// Where the archive is and how it is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct ArchiveSettings {
    /// Host name or address, or the folder of a Unix socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role to log in as.
    pub user: String,
    /// Its password.
    pub password: Option<String>,
    /// Name of the database.
    pub database: String,
    /// Protection of the connection.
    pub ssl_mode: ArchiveSslMode,
    /// The authorities (PEM) that may have issued the server's certificate, or a self-signed certificate itself. The verifying
    /// modes need it, the others do not look at it.
    pub ca_file: Option<PathBuf>,
    /// Connections at most. A connection is made when it is needed. Two of them are the archivist's, one of two; the others are for
    /// clients' questions.
    pub connections_max: usize,
    /// How long making a connection may take, and waiting for a free one.
    pub connect_timeout: Duration,
    /// How long the server may work on one statement. An operation as a whole may take a little more than this and
    /// `connect_timeout` together, after which its connection is given up.
    pub statement_timeout: Duration,
}

impl ArchiveSettings {
    /// Connections at most, unless told otherwise: one batch, retention, and six reads beside.
    pub const CONNECTIONS_MAX: usize = 8;
}

impl fmt::Debug for ArchiveSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "<redacted>"))
            .field("database", &self.database)
            .field("ssl_mode", &self.ssl_mode)
            .field("ca_file", &self.ca_file)
            .field("connections_max", &self.connections_max)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish()
    }
}
