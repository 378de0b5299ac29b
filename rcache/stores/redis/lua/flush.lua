#!lua flags=allow-oom
-- Purge everything: no entry that was started before may be used from now on.
--
-- What can no longer be told tag by tag is born away. A guard that is lost is born later anyway.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the log
-- KEYS[3..]  guard and marks of every shard, in turns
-- ARGV[1]    how many records the log keeps, and ARGV[2] for how many milliseconds
-- returns    as a purge
--@include rule
--@include put
--@include log

local sequence, log = KEYS[1], KEYS[2]

local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end
local epoch = standing(sequence, info)
local number = string.format('%.0f', put('HINCRBY', sequence, 'n', 1))

for position = 3, #KEYS, 2 do
  local guard, marks = KEYS[position], KEYS[position + 1]
  if epoch and found(epoch, guard, marks) then
    redis.call('HSET', guard, 'born', number)
    redis.call('ZADD', marks, 'XX', number, BORN)
  end
end
local known = logged_so_far(sequence)
local logged = append(sequence, log, epoch, known, 'flush', {}, 1, clock(), {ARGV[1], tonumber(ARGV[2])})
return {number, 0, epoch or '', logged or '', 1, known[4] == 'strict' and 1 or 0}
