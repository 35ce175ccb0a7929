//! The node's TOML file and the environment.
