-- On a Cluster a guard lies on a server of its own, which may lose it while the sequence's loses nothing: its epoch is that of
-- the sequence *and* of its server's history. So it is lost by itself after a failover, a restart, or a move of its slot.
local function epoch_here(epoch, info)
  return epoch .. ' ' .. string.match(info, 'master_replid:(%w+)')
end

-- Whether a guard's epoch is of that epoch of the sequence, on whatever server.
local function is_of(held, epoch)
  return type(held) == 'string' and string.sub(held, 1, #epoch + 1) == epoch .. ' '
end

-- {guard, marks, tag, ...}, as the one rule wants a shard: the tags are the arguments from position `first` on.
local function shard_from(first)
  local shard = {KEYS[1], KEYS[2]}
  for position = first, #ARGV do shard[#shard + 1] = ARGV[position] end
  return shard
end
