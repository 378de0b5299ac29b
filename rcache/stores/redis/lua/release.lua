#!lua flags=allow-oom
-- Release what a transaction holds, which was rolled back: the entries are good again.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the log
-- ARGV[1]    the tags by shard, as an entry spells them: JSON [[guard, marks, tag, ...], ...]
-- ARGV[2]    the transaction
-- ARGV[3]    how many records the log keeps, and ARGV[4] for how many milliseconds
-- returns    how many tags it had held
--@include rule
--@include put
--@include holds
--@include log

local sequence, log = KEYS[1], KEYS[2]
local shards, transaction = cjson.decode(ARGV[1]), ARGV[2]

local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end

local released = {}
for _, shard in ipairs(shards) do
  lift(shard, function(holder) return holder == transaction end, released, false)
end
if #released > 0 then
  local epoch, known, bounds = standing(sequence, info), logged_so_far(sequence), {ARGV[3], tonumber(ARGV[4])}
  append(sequence, log, epoch, known, 'release', released, 0, clock(), bounds)
end
return #released
