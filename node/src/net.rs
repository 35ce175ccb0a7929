//! libp2p: transports, admission, control and data streams. Nothing else names libp2p.
//!
//! A connection starts unadmitted and can say one thing, a hello; the [`Gate`] judges it. Only then does the peer exist
//! for the daemon: [`NetEvent::Up`], control messages, asks and replies, [`NetEvent::Down`]. What was decided elsewhere
//! is done here; nothing is decided here but who may hold a socket.
//!
//! Called by `daemon` alone. Not here: what credentials mean, which bytes are served, who is worth a connection.

mod address;
mod behaviour;
mod config;
mod dialer;
mod event;
mod gate;
mod handle;
mod handler;
mod hello;
mod io;
mod muxer;
mod places;
mod pool;
mod protocol;
mod proxy;
mod rate;
mod reply;
mod session;
mod shared;
mod swarm;
mod tls;
mod transport;

pub use config::{NetConfig, NetError};
pub use event::{NetEvent, PeerUp};
pub use gate::{Gate, Introduction, Seat, Verdict};
pub use handle::{Net, NetHandle};
pub use pool::Buffer;
pub use reply::{ReplyBroken, ReplyFrame, ReplySink, ReplySource, Written};

#[cfg(test)]
mod tests;
