#!lua
-- Write an entry that its guards allow. Whether they still do is checked when it is read.
--
-- Without allow-oom: a full Redis refuses before anything is written.
--
-- KEYS[1]    the URL's vary names
-- KEYS[2]    the URL's variants
-- KEYS[3]    the entry
-- KEYS[4]    the URL's entry where nothing selects a variant
-- ARGV[1]    the names that the entry's key was made of, one a line, sorted
-- ARGV[2]    how many variants a URL may have
-- ARGV[3]    the end of its storage, in milliseconds of the server's clock
-- ARGV[4..]  the entry's fields: epoch, start, guards, key, variant, stored, head, body, sum
-- returns    {'stored'}, {'expired'}, {'vary', names that were not considered}
--@include rule
--@include put
--@include names
--@include entries

local vary, variants, key, plain = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local names, max_variants, ends = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local now = clock()
if tonumber(ends) <= now then return {'expired'} end
local needed = remembered(vary)
if needed and not is_subset(needed, names) then return {'vary', needed} end
select_by(names, needed, vary, variants, key, plain, max_variants, ends, now)
write_entry(key, ends, ARGV, 4)
return {'stored'}
