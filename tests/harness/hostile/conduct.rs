//! The ways to do harm.

use std::time::Duration;

/// How long it rests before it dials again.
const REDIAL: Duration = Duration::from_millis(200);

/// What it does to whoever lets it in. It always claims to have everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Conduct {
    /// Serves what was asked for: what the others are measured against.
    Truth,
    /// One bit of each group's data is wrong.
    WrongData,
    /// One bit of the first proof of each reply is wrong.
    WrongProof,
    /// Takes asks and answers nothing.
    Stall,
    /// Serves groups, and takes asks for files and answers nothing.
    StallFiles,
    /// Sends half a group and nothing more.
    HalfFrame,
    /// Sends a kilobyte now and then.
    Drip,
    /// Does not have what it has just announced, and announces it again.
    Lie,
    /// Announces the same block as fast as it can.
    FloodHaves,
    /// Sends pings as fast as it can, and reads the answers.
    FloodPings,
    /// Sends messages of a type that nobody knows, as fast as it can.
    FloodUnknown,
    /// Tells contacts of nodes that there are not: origins, all of them, where something else listens.
    TellContacts,
    /// Says again and again which metadata it has.
    FloodMetadata,
    /// Says that it has newer metadata than anybody, again and again, and gives what is none.
    ClaimMetadata,
    /// Asks for what nobody has as fast as it is told so.
    FloodAsks,
    /// A control message that claims four gigabytes.
    OversizedControl,
    /// An ask that claims more than an ask may have.
    OversizedAsk,
    /// A group that claims more bytes than a group has.
    OversizedReply,
    /// A reply of a type that nobody knows.
    UnknownReply,
    /// Asks for all that it is shown, on every stream that it may have, and reads nothing of what comes.
    Unread,
    /// Takes a block, and the same again, without end.
    Take,
    /// Opens one stream after the other, and leaves them open.
    HoardStreams,
    /// Holds as many connections as it can, with handshakes that stop halfway or that no hello follows.
    HoardConnections,
    /// Connects, says hello, hangs up, and does it again at once.
    ReconnectStorm,
}

impl Conduct {
    /// How long it rests between one connection and the next.
    pub(super) const fn rest(self) -> Duration {
        match self {
            Self::ReconnectStorm => Duration::ZERO,
            _ => REDIAL,
        }
    }

    /// Whether it is a taker: it claims to have nothing and to want everything.
    pub(super) const fn takes(self) -> bool {
        matches!(self, Self::Take | Self::Unread)
    }
}
