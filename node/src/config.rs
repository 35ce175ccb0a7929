//! The node's TOML file and the environment.
//!
//! Two stages: `file` is what was written, [`settings`] is what it means: checked, units resolved, defaults filled.
//! Only `settings` leaves this module. Reading a configuration binds no port and creates no file. Not here: flags (`cli`),
//! and what is accepted and when (the site's policy).

pub mod address;
pub mod env;
pub mod error;
mod file;
mod locate;
pub mod proxy;
pub mod rate;
pub mod settings;

#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use settings::Settings;
pub(crate) use settings::is_product_name;
