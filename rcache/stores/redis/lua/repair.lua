#!lua flags=allow-oom
-- Make again what is missing of the epoch and the guards, and end quarantines that ran out.
--
-- Writes only what is still missing, so that many may carry it out at once. What is made again is born at a number taken
-- after it was seen missing: nothing older can be judged, so nothing older is used.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the log
-- KEYS[3..]  guard and marks of every shard, in turns
-- ARGV[1]    a random id, in case an epoch is to be made
-- ARGV[2]    1 if the caller has seen an epoch before: what it knew may be lost, so quarantine
-- ARGV[3]    milliseconds of quarantine
-- ARGV[4]    how many records the log keeps, and ARGV[5] for how many milliseconds
-- ARGV[6]    the reign that the caller's sentinels tell (enter.lua); empty where there are none
-- returns    {epoch, number, 1 if in quarantine else 0, seconds, microseconds}
--@include rule
--@include put
--@include epochs
--@include log

local sequence, log = KEYS[1], KEYS[2]
local fresh, seen, quarantine = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])

local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end
local now, time = clock()

local function make(epoch, guard, marks, born, is_quarantined)
  redis.call('DEL', guard, marks)
  redis.call('HSET', guard, 'epoch', epoch, 'born', born)
  if is_quarantined then redis.call('HSET', guard, 'quarantine', string.format('%.0f', now + quarantine)) end
  redis.call('ZADD', marks, born, BORN)
end

local epoch, number = standing(sequence, info)
if not epoch then
  local is_quarantined
  epoch, number, is_quarantined = begin_epoch(sequence, log, info, fresh, seen, ARGV[6])
  for position = 3, #KEYS, 2 do
    make(epoch, KEYS[position], KEYS[position + 1], number, is_quarantined)
  end
end

local in_quarantine, is_born_again = 0, false
for position = 3, #KEYS, 2 do
  local guard, marks = KEYS[position], KEYS[position + 1]
  local born, ends = found(epoch, guard, marks)
  if not born then
    -- All guards are made with their epoch: this one was lost, and with it what it knew.
    number = take(sequence)
    make(epoch, guard, marks, number, true)
    in_quarantine = 1
  elseif ends and ends > now then
    in_quarantine = 1
  elseif ends then
    number = take(sequence)
    redis.call('HSET', guard, 'born', number)
    redis.call('ZADD', marks, 'GT', number, BORN)
    redis.call('HDEL', guard, 'quarantine')
    is_born_again = true
  end
end
-- Nodes judge by the log alone. What they keep of before may be made by schemes that this guard has forgotten, and no writer
-- will purge what those made.
if is_born_again then
  append(sequence, log, epoch, logged_so_far(sequence), 'flush', {}, 0, now, {ARGV[4], tonumber(ARGV[5])}, number)
end
return {epoch, number, in_quarantine, time[1], time[2]}
