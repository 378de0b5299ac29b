#!lua
-- Store an entry, unless the one rule already forbids to use it.
--
-- Without allow-oom: a full Redis refuses before anything is written.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the URL's vary names
-- KEYS[3]    the URL's variants
-- KEYS[4]    the entry
-- KEYS[5]    the URL's entry where nothing selects a variant
-- KEYS[6..]  registries of its tags
-- ARGV[1]    the names that the entry's key was made of, one a line, sorted
-- ARGV[2]    how many variants a URL may have
-- ARGV[3]    the end of its storage, in milliseconds of the server's clock
-- ARGV[4..]  the entry's fields: epoch, start, guards, key, variant, stored, head, body, sum
-- ARGV[13]   the schemes that made tags of it: JSON [[guard, marks, table, scheme, ...], ...]
-- ARGV[14]   how many schemes a table may have
-- returns    {'stored'}, or why not: {'purged' | 'former' | 'lost' | 'quarantine' | 'held' | 'expired' | 'replica'},
--            {'abandoned', the tags, as JSON, with a hold that ran out}, {'vary', names that were not considered},
--            {'crowded', the tables, as JSON, whose own tags it has to carry}, {'forbidden', error}
--@include rule
--@include put
--@include names
--@include entries
--@include schemes
--@include enrol

local sequence, vary, variants, key, plain = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local names, max_variants, ends = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local epoch, start, guards = ARGV[4], tonumber(ARGV[5]), ARGV[6]

local info, refusal = history()
if not info then
  if refusal == 'replica' then return {'replica'} end
  return {'forbidden', refusal}
end

local now = clock()
if ends <= now then return {'expired'} end
local current, number = standing(sequence, info)
if current ~= epoch then return {'lost'} end
if start > tonumber(number) then return {'former'} end -- the sequence was set back
-- Registered whatever becomes of the entry, or nobody could while a table is written all the time.
local objection, tags = enrol_all(epoch, start, now, cjson.decode(ARGV[13]), tonumber(ARGV[14]))
if objection then return {objection, tags and cjson.encode(tags)} end
objection, tags = judge_all(epoch, start, now, cjson.decode(guards))
if objection then return {objection, tags and cjson.encode(tags)} end

local needed = remembered(vary)
if needed and not is_subset(needed, names) then return {'vary', needed} end

select_by(names, needed, vary, variants, key, plain, max_variants, ARGV[3], now)
write_entry(key, ARGV[3], ARGV, 4)
for position = 6, #KEYS do register(KEYS[position], key, ARGV[3], now) end
return {'stored'}
