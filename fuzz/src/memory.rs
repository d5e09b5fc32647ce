//! How much memory is held, so that a bound that is promised can be held against what was really taken.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes that the process has allocated now.
pub(crate) fn held() -> usize {
    ALLOCATOR.allocated()
}
