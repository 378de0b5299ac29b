-- Renew a lease, unless it has run out.
--
-- KEYS[1]    the lease
-- ARGV[1]    the id of the holder
-- ARGV[2]    milliseconds that it lasts from now on
-- returns    1 if it was renewed, else 0
local lease = KEYS[1]

if redis.pcall('HGET', lease, 'by') ~= ARGV[1] then return 0 end
redis.pcall('PEXPIRE', lease, ARGV[2])
return 1
