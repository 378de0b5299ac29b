#!lua flags=allow-oom
-- Let a guard be born at the number of a flush: whatever was started before is a miss. One that is lost is born later anyway.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the epoch that the number was taken in
-- ARGV[2]    the number
-- returns    1
--@include rule
--@include refused
--@include cluster/shard

local born = redis.pcall('HMGET', KEYS[1], 'epoch', 'born')
if not born.err and is_of(born[1], ARGV[1]) and (tonumber(born[2] or '') or 0) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'born', ARGV[2])
  redis.pcall('ZADD', KEYS[2], 'XX', ARGV[2], BORN)
end
return 1
