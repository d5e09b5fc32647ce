//! The built-in shop: real processes, real logs, a good and a bad release.
