//! The append-only, hash-chained audit log, and the only maker of a [`Permit`].

/// Proof that an intent stands in the audit log. Every function that changes a machine asks for one.
#[derive(Debug)]
pub struct Permit {
    _private: (),
}
