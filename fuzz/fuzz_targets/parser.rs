//! What the analysis reads: see [`lastgood_fuzz::parser`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: lastgood_fuzz::Input<'_>| lastgood_fuzz::parser::check(&input));
