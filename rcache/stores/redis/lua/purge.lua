#!lua flags=allow-oom
-- Purge tags: no entry that carries one of them and was started before may be used from now on.
--
-- Constant time in the number of entries: their bytes are freed afterwards, in slices (sweep.lua). It needs no epoch and
-- no guard: where those are lost nothing is served anyway, and who makes them again is born after this purge.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the log
-- KEYS[3]    the registries to be swept
-- KEYS[4..]  registry of a tag, and the new name it is swept under, in turns
-- ARGV[1]    the tags by shard, as an entry spells them: JSON [[guard, marks, tag, ...], ...]
-- ARGV[2]    how many marks a shard may hold
-- ARGV[3]    how many registries may wait to be swept, and ARGV[4] for how many milliseconds
-- ARGV[5]    the transaction whose holds on the tags end with this; empty if none
-- ARGV[6]    how many records the log keeps, and ARGV[7] for how many milliseconds
-- ARGV[8]    tables whose schemes are asked for, as the tags are spelled; their tags are among these
-- returns    {number, entries, epoch, record, awaited, strict, schemes}: the purge's number, how many entries the registries
--            held, the number of the log's record (it and the epoch empty where there is no epoch), 1 unless every tag had a
--            hold of the transaction, 1 if strict nodes may be there, the schemes of each table
--@include rule
--@include put
--@include holds
--@include log
--@include marks
--@include sweeps
--@include schemes

local sequence, log, sweeps = KEYS[1], KEYS[2], KEYS[3]
local shards, max_marks, transaction = cjson.decode(ARGV[1]), tonumber(ARGV[2]), ARGV[5]

local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end

local epoch = standing(sequence, info)
local known = logged_so_far(sequence)
-- Two numbers at once: the purge's own, and the next for its record.
local number = put('HINCRBY', sequence, 'n', 2) - 1
local mark = string.format('%.0f', number)

-- Numbers only grow. If this one does not, the sequence was set back, and nothing can be judged by numbers any more.
if (tonumber(known[1] or '') or 0) >= number then redis.call('HDEL', sequence, 'epoch') end
for _, shard in ipairs(shards) do
  if highest_mark(shard) >= number then redis.call('HDEL', sequence, 'epoch') end
end

-- Marks first: a script that fails is not rolled back.
for _, shard in ipairs(shards) do raise(shard, mark) end
for _, shard in ipairs(shards) do bound(shard, max_marks) end

-- Then the log, and the holds: what this transaction held, and what nobody else came to end.
local now, changes, ended = clock(), {}, 0
local function ends(holder, deadline)
  if holder == transaction then ended = ended + 1 end
  return holder == transaction or deadline <= now
end
for _, shard in ipairs(shards) do lift(shard, ends, changes, true) end
epoch = redis.call('HGET', sequence, 'epoch') and epoch
local awaited = ended < #changes and 1 or 0
local record, bounds = string.format('%.0f', number + 1), {ARGV[6], tonumber(ARGV[7])}
local logged = append(sequence, log, epoch, known, 'purge', changes, awaited, now, bounds, record)

local entries = 0
for position = 4, #KEYS, 2 do
  entries = entries + hand_over(sweeps, KEYS[position], KEYS[position + 1], epoch or '', number)
end
if entries > 0 then bound_sweeps(sweeps, ARGV[3], ARGV[4]) end
local told = {}
for _, shard in ipairs(cjson.decode(ARGV[8])) do tell_schemes(epoch, shard, told) end
return {mark, entries, epoch or '', logged or '', awaited, known[4] == 'strict' and 1 or 0, told}
