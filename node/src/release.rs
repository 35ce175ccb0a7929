//! Files into releases and releases into files.
