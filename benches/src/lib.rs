//! Benchmarks of mysql_mux beside its peers.
