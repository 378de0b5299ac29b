-- Elect who makes an answer: whoever asks first, until it is settled or runs out.
--
-- No `#!lua` line: where writes are forbidden everybody is elected.
--
-- KEYS[1]    the lease
-- ARGV[1]    a random id of whoever asks
-- ARGV[2]    milliseconds that it lasts
-- returns    the id of the elected
local lease, id, lasts = KEYS[1], ARGV[1], ARGV[2]

local holder = redis.pcall('HGET', lease, 'by')
if type(holder) == 'string' then return holder end
if holder then redis.pcall('UNLINK', lease) end -- another's value
redis.pcall('HSET', lease, 'by', id)
redis.pcall('PEXPIRE', lease, lasts)
return id
