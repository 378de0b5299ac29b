#!lua flags=allow-oom
-- End holds in one shard: those of a transaction, and those that ran out and have been purged.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the transaction; empty if none
-- ARGV[2]    the others, which end unless they were renewed meanwhile: JSON [[tag, transaction, ...], ...]
-- ARGV[3..]  the tags
-- returns    which holds have ended: JSON [[tag, transaction, ...], ...]
--@include rule
--@include refused
--@include holds
--@include cluster/shard

local transaction, listed = ARGV[1], {}
for _, change in ipairs(cjson.decode(ARGV[2])) do
  listed[change[1]] = listed[change[1]] or {}
  for position = 2, #change do listed[change[1]][change[position]] = true end
end
local now, changes = clock(), {}
for position = 3, #ARGV do
  local tag = ARGV[position]
  lift({KEYS[1], KEYS[2], tag}, function(holder, deadline)
    return holder == transaction or (listed[tag] and listed[tag][holder] and deadline <= now)
  end, changes, false)
end
return #changes > 0 and cjson.encode(changes) or '[]'
