-- End a lease.
--
-- KEYS[1]    the lease
-- ARGV[1]    the id of the holder
-- returns    1 if somebody waits to be told, else 0
local lease = KEYS[1]

local held = redis.pcall('HMGET', lease, 'by', 'awaited')
if held.err or held[1] ~= ARGV[1] then return 0 end
redis.pcall('UNLINK', lease)
return held[2] and 1 or 0
