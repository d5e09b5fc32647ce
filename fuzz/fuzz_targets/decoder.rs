//! Streams at the door: see [`lastgood_fuzz::decoder`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    |input: lastgood_fuzz::Input<'_>| lastgood_fuzz::decoder::check(&input)
);
