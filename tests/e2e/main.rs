//! What must hold, on real processes. Modules are declared once the verbs they run exist.
