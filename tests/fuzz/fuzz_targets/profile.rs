#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reinstate_tests::fuzz::profile(data));
