//! The built-in functions that neither read nor change anything of their session.
//!
//! Every one is built in since MySQL 5.7.22 and MariaDB 10.5, in both families and to this day: a
//! name that one server doesn't have (`ANY_VALUE`, `UUID_TO_BIN`, `REGEXP_REPLACE`) may be there
//! somebody's stored function, which may do anything. Hence `MD5` and `SHA1` are not here, which
//! MySQL 9.6 has no more, nor `POINT` and its like, which MariaDB takes for stored functions if
//! the arguments are too few; nor are `EXTRACTVALUE` and `UPDATEXML`, as an XPath may name user
//! variables. It doesn't know what a function computes, nor how many arguments it takes.
//!
//! Sources: <https://dev.mysql.com/doc/refman/8.4/en/built-in-function-reference.html>,
//! <https://mariadb.com/kb/en/function-and-operator-reference/>

/// Found by their name wherever it is followed by a parenthesis.
#[rustfmt::skip]
pub(super) const BUILTIN: &[&str] = &[
    // Control flow, comparison
    "coalesce", "greatest", "if", "ifnull", "interval", "isnull", "least", "nullif",
    // Strings
    "ascii", "bin", "bit_length", "char", "char_length", "character_length", "concat",
    "concat_ws", "convert", "elt", "export_set", "field", "find_in_set", "format", "from_base64",
    "hex", "instr", "lcase", "left", "length", "locate", "lower", "lpad", "ltrim", "make_set",
    "match", "oct", "octet_length", "ord", "quote", "repeat", "reverse", "right", "rpad", "rtrim",
    "soundex", "space", "strcmp", "substring_index", "to_base64", "ucase", "unhex", "upper",
    "weight_string",
    // Numbers
    "abs", "acos", "asin", "atan", "atan2", "bit_count", "ceil", "ceiling", "conv", "cos", "cot",
    "crc32", "degrees", "exp", "floor", "ln", "log", "log10", "log2", "mod", "pi", "pow", "power",
    "radians", "rand", "round", "sign", "sin", "sqrt", "tan", "truncate",
    // Dates and times
    "addtime", "convert_tz", "current_date", "current_time", "current_timestamp", "date",
    "datediff", "day", "dayname", "dayofmonth", "dayofweek", "dayofyear", "from_days",
    "from_unixtime", "get_format", "hour", "last_day", "localtime", "localtimestamp", "makedate",
    "maketime", "microsecond", "minute", "month", "monthname", "period_add", "period_diff",
    "quarter", "sec_to_time", "second", "str_to_date", "subtime", "time", "time_format",
    "time_to_sec", "timediff", "timestamp", "timestampadd", "timestampdiff", "to_days",
    "to_seconds", "unix_timestamp", "utc_date", "utc_time", "utc_timestamp", "week", "weekday",
    "weekofyear", "year", "yearweek",
    // Hashes, ciphers, compression
    "aes_decrypt", "aes_encrypt", "compress", "sha2", "uncompress", "uncompressed_length",
    // JSON
    "json_array", "json_array_append", "json_array_insert", "json_contains",
    "json_contains_path", "json_depth", "json_extract", "json_insert", "json_keys",
    "json_length", "json_merge_patch", "json_merge_preserve", "json_object", "json_quote",
    "json_remove", "json_replace", "json_search", "json_set", "json_type", "json_unquote",
    "json_valid",
    // Geometry
    "mbrcontains", "mbrdisjoint", "mbrintersects", "mbroverlaps", "mbrtouches", "mbrwithin",
    "st_area", "st_asbinary", "st_asgeojson", "st_astext", "st_aswkb", "st_aswkt", "st_buffer",
    "st_centroid", "st_contains", "st_convexhull", "st_crosses", "st_difference",
    "st_dimension", "st_disjoint", "st_distance", "st_distance_sphere", "st_endpoint",
    "st_envelope", "st_equals", "st_exteriorring", "st_geometryn", "st_geometrytype",
    "st_geomfromgeojson", "st_geomfromtext", "st_geomfromwkb", "st_interiorringn",
    "st_intersection", "st_intersects", "st_isclosed", "st_isempty", "st_issimple", "st_length",
    "st_numgeometries", "st_numinteriorrings", "st_numpoints", "st_overlaps",
    "st_pointfromtext", "st_pointn", "st_srid", "st_startpoint", "st_symdifference",
    "st_touches", "st_union", "st_within", "st_x", "st_y",
    // Of the session what all that share a link have in common
    "charset", "coercibility", "collation", "current_user", "database", "schema", "user",
    "version",
    // Others
    "avg", "benchmark", "default", "inet6_aton", "inet6_ntoa", "inet_aton", "inet_ntoa",
    "is_ipv4", "is_ipv4_compat", "is_ipv4_mapped", "is_ipv6", "sleep", "uuid", "uuid_short",
    "values",
];

/// Found by their name only if the parenthesis follows at once: with a blank between them the
/// name is that of a stored function, unless the SQL mode has `IGNORE_SPACE`.
///
/// Source: <https://dev.mysql.com/doc/refman/8.4/en/function-resolution.html>, and
/// `sql_functions` in MariaDB's `sql/lex.h`
#[rustfmt::skip]
pub(super) const ATTACHED: &[&str] = &[
    "adddate", "bit_and", "bit_or", "bit_xor", "cast", "count", "curdate", "curtime", "date_add",
    "date_format", "date_sub", "extract", "group_concat", "json_arrayagg", "json_objectagg",
    "max", "mid", "min", "now", "position", "session_user", "std", "stddev", "stddev_pop",
    "stddev_samp", "subdate", "substr", "substring", "sum", "sysdate", "system_user", "trim",
    "var_pop", "var_samp", "variance",
];

/// Window functions, which MySQL 5.7 doesn't have: they are what they seem when `OVER` follows.
#[rustfmt::skip]
pub(super) const WINDOWED: &[&str] = &[
    "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile",
    "percent_rank", "rank", "row_number",
];
