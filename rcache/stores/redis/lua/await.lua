-- Wait for the holder of a lease: it will tell when it is done.
--
-- KEYS[1]    the lease
-- ARGV[1]    the id of the holder
-- returns    milliseconds after which it runs out unless it is renewed; 0 where it is held by another, or by nobody
local lease = KEYS[1]

if redis.pcall('HGET', lease, 'by') ~= ARGV[1] then return 0 end
redis.pcall('HSET', lease, 'awaited', 1)
local left = redis.call('PTTL', lease)
return left > 0 and left or 0
