#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mysql_mux::fuzzing::rows(data));
