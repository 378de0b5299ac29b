-- Find an entry and judge it by the one rule, without writing anything.
--
-- No `#!lua` line, so that it also runs where writes are forbidden (a full Redis, min-replicas-to-write).
--
-- KEYS[1]    the sequence
-- KEYS[2]    the URL's vary names
-- KEYS[3]    the entry
-- KEYS[4..]  guard and marks of every shard, consulted where no entry tells which tags matter
-- ARGV[1]    the names that the entry's key was made of, one a line, sorted
-- ARGV[2]    the entry that the caller holds a copy of, "epoch start guards sum"; empty if none
-- returns    {verdict, epoch, number, seconds, microseconds, ...}; verdict is one of
--            same        the entry may be used, and is the one that the caller holds
--            hit         followed by the entry's fields
--            After both: since when a soft purge has made it stale, in milliseconds, if one has.
--            absent, damaged, lost, quarantine, purged
--            former      an entry of an earlier epoch, or from before its guard was born
--            held        somebody is about to commit
--            abandoned   followed by the tags, as JSON, with a hold that ran out: the caller purges them
--            vary        followed by names that were not considered
--            forbidden   followed by the error; `replica` alone: this server must not answer
--@include rule
--@include fetch

local sequence, vary, key = KEYS[1], KEYS[2], KEYS[3]
local names, held = ARGV[1], ARGV[2]

local info, refusal = history()
local now, time = clock()
if not info then
  if refusal == 'replica' then return {'replica', '', '0', time[1], time[2]} end
  return {'forbidden', '', '0', time[1], time[2], refusal}
end

local epoch, number = standing(sequence, info)
local function answer(verdict, ...)
  return {verdict, epoch or '', number or '0', time[1], time[2], ...}
end
if not epoch then return answer('lost') end

local entry = peek(key, held)
if entry.err then return answer('damaged') end
local sum = entry[#entry]

local start = tonumber(entry[2] or '')
local spelled, shards = pcall(cjson.decode, entry[3] or '')
local is_whole = sum and start and spelled and type(shards) == 'table'
if not is_whole or entry[1] ~= epoch then
--@include names
  -- Variants of fewer names go when a name is added, so only what is not found can be elsewhere.
  local needed = remembered(vary)
  if needed and not is_subset(needed, names) then return answer('vary', needed) end
  -- No entry tells which tags matter, so every guard is asked whether a fill may be stored.
  for shard = 4, #KEYS, 2 do
    local born, quarantine = found(epoch, KEYS[shard], KEYS[shard + 1])
    if not born then return answer('lost') end
    if quarantine then return answer(quarantine > now and 'quarantine' or 'lost') end
  end
  if is_whole then return answer('former') end
  return answer(redis.call('EXISTS', key) == 1 and 'damaged' or 'absent')
end

if start > tonumber(number) then return answer('former') end -- the sequence was set back
local judged, objection, abandoned, since = pcall(judge_all, epoch, start, now, shards)
if not judged then return answer('damaged') end
if abandoned then return answer(objection, cjson.encode(abandoned)) end
if objection then return answer(objection) end
since = since and string.format('%.0f', since)
if held == '' then
  entry[10] = since
  return answer('hit', unpack(entry))
end
-- All that was judged is compared, so that no damage under an intact sum can speak for the copy.
local found = table.concat({epoch, entry[2], entry[3], sum}, ' ')
if found == held then return answer('same', since) end
entry = fetch(key)
entry[10] = since
return answer('hit', unpack(entry))
