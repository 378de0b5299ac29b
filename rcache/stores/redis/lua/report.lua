#!lua
-- Note what a node has counted since it told last, and what has happened there.
--
-- Without allow-oom: a full Redis refuses before anything is written, and the node tells it later.
--
-- KEYS[1]    the node's row
-- KEYS[2]    the nodes, by when they told last
-- KEYS[3]    what all nodes counted this second
-- KEYS[4]    what all nodes counted this minute
-- KEYS[5]    what is popular in this window
-- KEYS[6]    the events
-- ARGV[1]    the node, a random id
-- ARGV[2]    its row, as tools read it
-- ARGV[3]    what it counted since: JSON {name: number, ...}
-- ARGV[4]    hits since: JSON {entry: number, ...}
-- ARGV[5]    what has happened: JSON [[milliseconds ago, event], ...]
-- ARGV[6]    for how many milliseconds the row lives, ARGV[7] the second, ARGV[8] the minute, ARGV[9] the window, ARGV[10] the events
-- ARGV[11]   how many popular entries are kept, and ARGV[12] how many events
-- returns    {seconds, microseconds}
--@include rule
--@include put

local node, fleet, second, minute, popular, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local now, time = clock()

put('SET', node, ARGV[2])
redis.call('PEXPIRE', node, ARGV[6])
put('ZADD', fleet, string.format('%.0f', now), ARGV[1])
-- A few of those that said nothing for so long: ZREMRANGEBYSCORE would know no limit.
local gone = string.format('%.0f', now - 10 * tonumber(ARGV[6]))
for _, silent in ipairs(redis.call('ZRANGE', fleet, '-inf', gone, 'BYSCORE', 'LIMIT', 0, 10)) do
  redis.call('ZREM', fleet, silent)
end
redis.call('PEXPIRE', fleet, ARGV[10])

local has_counted = false
for name, number in pairs(cjson.decode(ARGV[3])) do
  put('HINCRBY', second, name, string.format('%.0f', number))
  put('HINCRBY', minute, name, string.format('%.0f', number))
  has_counted = true
end
if has_counted then
  redis.call('PEXPIRE', second, ARGV[7])
  redis.call('PEXPIRE', minute, ARGV[8])
end

local is_hot = false
for entry, hits in pairs(cjson.decode(ARGV[4])) do
  put('ZADD', popular, 'INCR', string.format('%.0f', hits), entry)
  is_hot = true
end
if is_hot then
  redis.call('ZREMRANGEBYRANK', popular, 0, -1 - tonumber(ARGV[11]))
  redis.call('PEXPIRE', popular, ARGV[9])
end

for _, event in ipairs(cjson.decode(ARGV[5])) do
  put('XADD', events, 'MAXLEN', '~', ARGV[12], '*', 'at', string.format('%.0f', now - event[1]), 'event', event[2])
  redis.call('PEXPIRE', events, ARGV[10])
end
return time
