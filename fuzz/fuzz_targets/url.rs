#![no_main]
libfuzzer_sys::fuzz_target!(|data: &str| drop(mysql_mux::Opts::from_url(data)));
