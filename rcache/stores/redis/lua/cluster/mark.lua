#!lua flags=allow-oom
-- Raise the marks of one shard to a purge's number.
--
-- A guard of another epoch is left alone. Either it is made again before anybody trusts it, and born after this number; or the
-- number is of a former epoch, and whatever is started in the guard's own began after the purge did.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the epoch that the number was taken in
-- ARGV[2]    the number
-- ARGV[3]    how many marks a shard may hold
-- ARGV[4]    the transaction that ends with the purge; empty if none
-- ARGV[5]    tables, as JSON, among the tags: their schemes are asked for
-- ARGV[6..]  the tags
-- returns    {the highest mark before, which holds are to end: JSON [[tag, transaction, ...], ...] with every tag, the schemes
--            of each table}
--@include rule
--@include put
--@include refused
--@include marks
--@include cluster/shard
--@include schemes

local epoch, mark, max_marks, transaction = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local shard = shard_from(6)

local held = redis.pcall('HGET', shard[1], 'epoch')
local highest = is_of(held, epoch) and highest_mark(shard) or 0
if held == false or is_of(held, epoch) then
  raise(shard, mark)
  bound(shard, max_marks)
end

local now, changes = clock(), {}
for first = 3, #shard, SLICE do
  local fields = redis.pcall('HMGET', shard[1], unpack(hold_fields(shard, first)))
  for position = first, math.min(first + SLICE - 1, #shard) do
    local field, change = not fields.err and fields[position - first + 1], {shard[position]}
    for holder, deadline in pairs(field and holders(field) or {}) do
      if holder == transaction or deadline <= now then change[#change + 1] = holder end
    end
    changes[#changes + 1] = change
  end
end
local told = {}
tell_schemes(epoch_here(epoch, info), {KEYS[1], KEYS[2], unpack(cjson.decode(ARGV[5]))}, told)
return {string.format('%.0f', highest), #changes > 0 and cjson.encode(changes) or '[]', told}
