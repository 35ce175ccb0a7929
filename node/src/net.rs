//! libp2p: transports, admission, control and data streams. Nothing else names libp2p.
