#!lua flags=allow-oom
-- Free the bytes of a purged entry.
--
-- What was filled again since the purge lives on: it was started at the purge's number or later, or in another epoch.
--
-- KEYS[1]    the entry
-- ARGV[1]    the epoch, and ARGV[2] the number of the purge
-- returns    1 freed, 0 not
local number = tonumber(ARGV[2])
local found = redis.pcall('HMGET', KEYS[1], 'epoch', 'start')
if found.err or found[1] ~= ARGV[1] or (tonumber(found[2] or '') or number) >= number then return 0 end
return redis.call('UNLINK', KEYS[1])
