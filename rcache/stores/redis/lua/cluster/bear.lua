#!lua flags=allow-oom
-- Let a guard that was made again be born, if it is still the one that was seen, and its quarantine is over.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the epoch of the sequence
-- ARGV[2]    the id that was seen, before
-- ARGV[3]    the number that was taken
-- ARGV[4]    1 if the caller has made the epoch, and nothing was lost before it: a first guard then needs no quarantine
-- returns    1 it judges from now on, 0 it does not
--@include rule
--@include refused
--@include cluster/shard

local guard, marks = KEYS[1], KEYS[2]
local born, ends = found(epoch_here(ARGV[1], info), guard, marks)
if not born then return 0 end
if not ends then return 1 end
local id, first = unpack(redis.call('HMGET', guard, 'id', 'first'))
if id ~= ARGV[2] or not (ends <= clock() or (first and ARGV[4] == '1')) then return 0 end
-- Purges that forgot marks may have raised it already.
local number = string.format('%.0f', math.max(born, tonumber(ARGV[3])))
redis.call('HSET', guard, 'born', number)
redis.call('ZADD', marks, number, BORN)
redis.call('HDEL', guard, 'quarantine', 'id', 'first')
return 1
