#!lua flags=allow-oom
-- Purge tags softly: an entry that carries one of them and was started before counts as stale from now on.
--
-- A guard that is lost needs no note: who makes it again is born after this, and what was started before is a miss. The log
-- takes it for a purge: a node lets go of what it keeps, and is told by the next look-up.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the log
-- ARGV[1]    the tags by shard, as an entry spells them: JSON [[guard, marks, tag, ...], ...]
-- ARGV[2]    how many soft purges a shard may remember
-- ARGV[3]    how many records the log keeps, and ARGV[4] for how many milliseconds
-- returns    {number, 0, epoch, record, awaited, strict}, as purge.lua does
--@include rule
--@include put
--@include refused
--@include log
--@include softening

local sequence, log = KEYS[1], KEYS[2]
local shards, most = cjson.decode(ARGV[1]), tonumber(ARGV[2])

local epoch = standing(sequence, info)
local known = logged_so_far(sequence)
local number = put('HINCRBY', sequence, 'n', 2) - 1
if (tonumber(known[1] or '') or 0) >= number then redis.call('HDEL', sequence, 'epoch') end

local now, changes = clock(), {}
for _, shard in ipairs(shards) do
  if epoch and found(epoch, shard[1], shard[2]) then soften(shard, number, now, most) end
  for position = 3, #shard do changes[#changes + 1] = {shard[position]} end
end

epoch = redis.call('HGET', sequence, 'epoch') and epoch
local record, bounds = string.format('%.0f', number + 1), {ARGV[3], tonumber(ARGV[4])}
local logged = append(sequence, log, epoch, known, 'purge', changes, 1, now, bounds, record)
return {string.format('%.0f', number), 0, epoch or '', logged or '', 1, known[4] == 'strict' and 1 or 0}
