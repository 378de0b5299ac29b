-- Judge a start by the one rule, in one shard of tags; without tags, whether a fill may be stored at all.
--
-- No `#!lua` line: it writes nothing, and runs where writes are forbidden too.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the epoch of the sequence
-- ARGV[2]    the start
-- ARGV[3..]  the tags
-- returns    'fit'; {'soft', since when a soft purge has made it stale, in milliseconds}; or the objection: {'lost' | 'quarantine' | 'held' | 'former' | 'purged'}, {'abandoned', the tags, as JSON,
--            with a hold that ran out}; {'replica'}, {'forbidden', error}
--@include rule
--@include cluster/shard

local info, refusal = history()
if not info then
  if refusal == 'replica' then return {'replica'} end
  return {'forbidden', refusal}
end
local objection, abandoned, since = judge(epoch_here(ARGV[1], info), tonumber(ARGV[2]), clock(), shard_from(3))
if abandoned then return {objection, cjson.encode(abandoned)} end
if since then return {'soft', string.format('%.0f', since)} end
return objection and {objection} or 'fit'
