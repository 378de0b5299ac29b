#!lua flags=allow-oom
-- Take a number for a purge.
--
-- It needs no epoch that stands: where none does nothing is served, and who makes the next is born after this.
--
-- KEYS[1]    the sequence
-- returns    {number, the epoch that is written there, standing or not; empty if none}
--@include rule
--@include put
--@include refused

local sequence = KEYS[1]
local number = put('HINCRBY', sequence, 'n', 1)
-- Numbers only grow. If this one does not, the sequence was set back, and nothing can be judged by numbers any more.
if (tonumber(redis.call('HGET', sequence, 'last') or '') or 0) >= number then redis.call('HDEL', sequence, 'epoch') end
return {string.format('%.0f', number), redis.call('HGET', sequence, 'epoch') or ''}
