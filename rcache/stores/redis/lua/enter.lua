#!lua flags=allow-oom
-- Begin a reign: from now on nothing counts that was written here under an earlier one.
--
-- Another primary may have ruled meanwhile, and taken purges that this one never heard of. Its replid does not tell, where
-- sentinels named it again before they had made it a replica.
--
-- KEYS[1]    the sequence
-- ARGV[1]    the reign, a number that the sentinels raise at each failover
-- returns    for how many milliseconds the reign has been known here
--@include rule
--@include put

local sequence, reign = KEYS[1], tonumber(ARGV[1])

local known = redis.pcall('HMGET', sequence, 'reign', 'since')
local now = clock()
if not known.err and known[1] and (tonumber(known[1]) or 0) >= reign then
  return math.max(0, now - (tonumber(known[2] or '') or now))
end
put('HSET', sequence, 'reign', ARGV[1], 'since', string.format('%.0f', now))
redis.call('HDEL', sequence, 'replid')
return 0
