#!lua flags=allow-oom
-- Hold tags for a transaction that is about to commit: until it is over, no entry that carries one is used or stored.
--
-- Holds that stand are renewed; what is not found, a lost one too, is placed (again), and then logged.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the log
-- ARGV[1]    the tags by shard, as an entry spells them: JSON [[guard, marks, tag, ...], ...]
-- ARGV[2]    the transaction, a random id
-- ARGV[3]    for how many milliseconds
-- ARGV[4]    how many records the log keeps, and ARGV[5] for how many milliseconds
-- ARGV[6]    tables whose schemes are asked for, as the tags are spelled; their tags are among these
-- returns    {'held', epoch, number, 1 if strict nodes may be there else 0, the schemes of each table, how many were placed}: who
--            has read the log up to that number knows of the holds; {'lost'} where a guard or the epoch has to be made first
--@include rule
--@include put
--@include holds
--@include log
--@include schemes

local sequence, log = KEYS[1], KEYS[2]
local shards, transaction, lasts = cjson.decode(ARGV[1]), ARGV[2], tonumber(ARGV[3])

local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end
local epoch = standing(sequence, info)
if not epoch then return {'lost'} end
for _, shard in ipairs(shards) do
  if not found(epoch, shard[1], shard[2]) then return {'lost'} end
end

local now = clock()
local placed = {}
for _, shard in ipairs(shards) do
  for first = 3, #shard, SLICE do
    local fields = hold_fields(shard, first)
    local known = redis.call('HMGET', shard[1], unpack(fields))
    for offset, name in ipairs(fields) do
      local deadlines = known[offset] and holders(known[offset]) or {}
      if not deadlines[transaction] then placed[#placed + 1] = {shard[first + offset - 1], transaction} end
      deadlines[transaction] = now + lasts
      write_holders(shard[1], name, known[offset], deadlines)
    end
  end
end

-- Placed first, then logged: whoever has read of a hold is given nothing that it forbids.
local known = logged_so_far(sequence)
local number = known[1] -- what stands may have been placed by this very call, whose reply was lost: nodes may have yet to read it
if #placed > 0 then
  number = append(sequence, log, epoch, known, 'hold', placed, 1, now, {ARGV[4], tonumber(ARGV[5])})
end
local told = {}
for _, shard in ipairs(cjson.decode(ARGV[6])) do tell_schemes(epoch, shard, told) end
return {'held', epoch, number or '', known[4] == 'strict' and 1 or 0, told, #placed}
