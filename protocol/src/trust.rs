//! Who may say what: TUF metadata, grants, enrolments, contacts.
