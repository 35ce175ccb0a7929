//! Keys and credentials on disk: vendor, site and node keys, grants, enrolments, contacts, the product's metadata.
