#!lua flags=allow-oom
-- Make a guard again where it is lost. It knows nothing yet, and serves nothing until it is born (bear.lua) at a number that is
-- taken after this: so nothing that happens in between is missed, though the sequence lies elsewhere.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the epoch of the sequence
-- ARGV[2]    a random id, in case it is to be made
-- ARGV[3]    milliseconds of quarantine, since what it knew may be lost
-- returns    {'sound'}; {'over', id} where it may be born; {'quarantine', id, 1 if no guard was known before it else 0}
--@include rule
--@include refused
--@include cluster/shard

local guard, marks = KEYS[1], KEYS[2]
local epoch = epoch_here(ARGV[1], info)
local now = clock()

local born, ends = found(epoch, guard, marks)
local id = ends and redis.call('HGET', guard, 'id')
if not born or (ends and not id) then
  local known = redis.pcall('HGET', guard, 'epoch')
  id, ends = ARGV[2], now + tonumber(ARGV[3])
  redis.call('DEL', guard, marks)
  redis.call('HSET', guard, 'epoch', epoch, 'born', '0', 'id', id, 'quarantine', string.format('%.0f', ends))
  if known == false then redis.call('HSET', guard, 'first', '1') end
  redis.call('ZADD', marks, 0, BORN)
elseif not ends then
  return {'sound'}
end
return {ends <= now and 'over' or 'quarantine', id, redis.call('HEXISTS', guard, 'first')}
