//! What reaches a screen or a report: see [`lastgood_fuzz::sanitiser`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    |input: lastgood_fuzz::Input<'_>| lastgood_fuzz::sanitiser::check(&input)
);
