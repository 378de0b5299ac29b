#!lua flags=allow-oom
-- Place or renew a transaction's holds in one shard.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the epoch of the sequence
-- ARGV[2]    the transaction
-- ARGV[3]    for how many milliseconds
-- ARGV[4]    tables, as JSON, among the tags: their schemes are asked for
-- ARGV[5..]  the tags
-- returns    {'held', the schemes of each table, how many were placed}; {'lost'} where the guard has to be made first. What ran out
--            counts as gone, though nobody has ended it yet
--@include rule
--@include put
--@include refused
--@include holds
--@include cluster/shard
--@include schemes

local transaction, lasts = ARGV[2], tonumber(ARGV[3])
local shard, epoch = shard_from(5), epoch_here(ARGV[1], info)
if not found(epoch, shard[1], shard[2]) then return {'lost'} end

local now, placed = clock(), 0
for first = 3, #shard, SLICE do
  local fields = hold_fields(shard, first)
  local known = redis.call('HMGET', shard[1], unpack(fields))
  for offset, name in ipairs(fields) do
    local deadlines = known[offset] and holders(known[offset]) or {}
    if (deadlines[transaction] or 0) <= now then placed = placed + 1 end
    deadlines[transaction] = now + lasts
    write_holders(shard[1], name, known[offset], deadlines)
  end
end
local told = {}
tell_schemes(epoch, {KEYS[1], KEYS[2], unpack(cjson.decode(ARGV[4]))}, told)
return {'held', told, placed}
