#!lua flags=allow-oom
-- Free the bytes of a purged entry.
--
-- What was filled again since the purge lives on: it was started at the purge's number or later, or in another epoch.
--
-- KEYS[1]    the entry
-- ARGV[1]    the epoch, and ARGV[2] the number of the purge
-- ARGV[3]    1 to be told what it was stored under
-- returns    {1 freed, 0 not, key, variant}
local number = tonumber(ARGV[2])
local found = redis.pcall('HMGET', KEYS[1], 'epoch', 'start', 'key', 'variant')
if found.err or found[1] ~= ARGV[1] or (tonumber(found[2] or '') or number) >= number then return {0} end
local freed = redis.call('UNLINK', KEYS[1])
if ARGV[3] == '1' and found[3] and found[4] then return {freed, found[3], found[4]} end
return {freed}
