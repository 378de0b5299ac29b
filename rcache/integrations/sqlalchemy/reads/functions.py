"""SQL functions that give the same for the same arguments, and read nothing besides."""

from __future__ import annotations

from typing import Final

KNOWN: Final = frozenset(
    """
    count sum total avg min max every bool_and bool_or bit_and bit_or array_agg string_agg group_concat
    aggregate_strings json_agg jsonb_agg json_object_agg jsonb_object_agg json_group_array json_group_object stddev
    stddev_pop stddev_samp variance var_pop var_samp corr mode percentile_cont percentile_disc row_number rank
    dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value coalesce nullif ifnull iif
    greatest least abs round ceil ceiling floor trunc sign mod power sqrt exp ln log lower upper initcap length
    char_length character_length octet_length bit_length trim ltrim rtrim btrim substr substring left right lpad rpad
    replace translate reverse repeat split_part position strpos instr concat concat_ws format starts_with chr char
    ascii unicode hex quote md5 sha256 encode decode regexp_replace regexp_match regexp_matches regexp_substr
    date_trunc date_part extract to_char to_date to_number make_date cast array_length cardinality unnest
    array_position array_to_string string_to_array generate_series generate_subscripts json json_extract
    json_extract_path json_extract_path_text jsonb_extract_path jsonb_extract_path_text json_array_length
    jsonb_array_length json_each jsonb_each json_array_elements jsonb_array_elements json_array_elements_text
    jsonb_array_elements_text json_typeof jsonb_typeof json_type json_valid json_build_object jsonb_build_object
    json_build_array jsonb_build_array json_object json_array row_to_json to_json to_jsonb to_tsvector to_tsquery
    plainto_tsquery phraseto_tsquery websearch_to_tsquery ts_rank ts_rank_cd ts_headline similarity rollup cube
    grouping_sets grouping
    """.split()  # noqa: SIM905
)

WORDS: Final = frozenset(
    """
    select from where and or not in exists any all some join inner left right full outer cross lateral on using as
    with recursive materialized values union intersect except order group by having limit offset fetch first next rows
    only distinct over partition filter within window between case when then else end is null like ilike similar
    escape collate cast row array interval numeric decimal varchar char character timestamp time bit float asc desc
    nulls last for update of
    """.split()  # noqa: SIM905
)
"""What may stand before a parenthesis without being a function."""

CHANGING: Final = frozenset(
    """
    current_timestamp current_date current_time localtime localtimestamp sysdate
    """.split()  # noqa: SIM905
)
"""What needs no parenthesis to be one that gives something else each time."""
