#!lua flags=allow-oom
-- Note a soft purge in one shard. A guard that is lost, or of another epoch, needs none.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the epoch that the number was taken in
-- ARGV[2]    the number
-- ARGV[3]    how many soft purges a shard may remember
-- ARGV[4..]  the tags
-- returns    1
--@include rule
--@include refused
--@include cluster/shard
--@include softening

local held = redis.pcall('HGET', KEYS[1], 'epoch')
if is_of(held, ARGV[1]) then soften(shard_from(4), tonumber(ARGV[2]), clock(), tonumber(ARGV[3])) end
return 1
