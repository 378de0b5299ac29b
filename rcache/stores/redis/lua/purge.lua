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
-- returns    {number, entries, epoch, record, awaited, strict}: the purge's number, how many entries the registries held, the
--            number of the log's record (it and the epoch empty where there is no epoch), 1 unless every tag had a hold of
--            the transaction, 1 if strict nodes may be there
--@include rule
--@include put
--@include holds
--@include log

local sequence, log, sweeps = KEYS[1], KEYS[2], KEYS[3]
local shards, max_marks, transaction = cjson.decode(ARGV[1]), tonumber(ARGV[2]), ARGV[5]

local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end

-- Forgets the lowest marks of a shard; what can no longer be judged is born away, so that it is a miss.
local function forget(guard, marks, surplus)
  local lowest = redis.call('ZRANGE', marks, 0, surplus, 'WITHSCORES')
  local highest = 0
  for position = 1, #lowest, 2 do
    if lowest[position] ~= BORN then
      redis.call('ZREM', marks, lowest[position])
      highest = math.max(highest, tonumber(lowest[position + 1]))
    end
  end
  local born = redis.pcall('HGET', guard, 'born')
  if type(born) == 'string' and (tonumber(born) or 0) < highest then
    redis.call('HSET', guard, 'born', string.format('%.0f', highest))
    redis.call('ZADD', marks, 'XX', 'GT', string.format('%.0f', highest), BORN)
  end
end

local epoch = standing(sequence, info)
local known = logged_so_far(sequence)
-- Two numbers at once: the purge's own, and the next for its record.
local number = put('HINCRBY', sequence, 'n', 2) - 1
local mark = string.format('%.0f', number)

-- Numbers only grow. If this one does not, the sequence was set back, and nothing can be judged by numbers any more.
if (tonumber(known[1] or '') or 0) >= number then redis.call('HDEL', sequence, 'epoch') end
for _, shard in ipairs(shards) do
  local highest = redis.pcall('ZRANGE', shard[2], -1, -1, 'WITHSCORES')
  if not highest.err and highest[2] and tonumber(highest[2]) >= number then redis.call('HDEL', sequence, 'epoch') end
end

-- Marks first: a script that fails is not rolled back.
for _, shard in ipairs(shards) do
  for position = 3, #shard do
    put('ZADD', shard[2], 'GT', mark, shard[position])
  end
end
for _, shard in ipairs(shards) do
  local surplus = redis.call('ZCARD', shard[2]) - 1 - max_marks
  -- A few at a time: as many as this purge may have added, and some more where the bound was lowered.
  if surplus > 0 then forget(shard[1], shard[2], math.min(surplus, #shard + 16)) end
end

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
  local held = redis.pcall('ZCARD', KEYS[position])
  if type(held) == 'number' and held > 0 then
    entries = entries + held
    redis.call('RENAME', KEYS[position], KEYS[position + 1])
    put('LPUSH', sweeps, cjson.encode({KEYS[position + 1], epoch or '', number}))
  end
end
if entries > 0 then
  redis.call('LTRIM', sweeps, 0, ARGV[3] - 1)
  redis.call('PEXPIRE', sweeps, ARGV[4])
end
return {mark, entries, epoch or '', logged or '', awaited, known[4] == 'strict' and 1 or 0}
