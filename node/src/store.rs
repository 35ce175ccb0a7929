//! Verified bytes on disk. Nothing else names redb.
