#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offkey_fuzz::json_long(bytes));
