-- Raising marks, and forgetting the lowest.

-- Forgets the lowest marks of a shard; what can no longer be judged is born away, so that it is a miss.
local function forget(guard, marks, surplus)
  local lowest = redis.call('ZRANGE', marks, 0, surplus, 'WITHSCORES')
  local highest = 0
  for position = 1, #lowest, 2 do
    if lowest[position] ~= BORN then
      redis.call('ZREM', marks, lowest[position])
      highest = math.max(highest, tonumber(lowest[position + 1]))
    end
  end
  local born = redis.pcall('HGET', guard, 'born')
  if type(born) == 'string' and (tonumber(born) or 0) < highest then
    redis.call('HSET', guard, 'born', string.format('%.0f', highest))
    redis.call('ZADD', marks, 'XX', 'GT', string.format('%.0f', highest), BORN)
  end
end

-- Raises the marks of a shard's tags to a purge's number.
local function raise(shard, mark)
  for position = 3, #shard do
    put('ZADD', shard[2], 'GT', mark, shard[position])
  end
end

-- Keeps a shard within its bound. A few at a time: as many as a purge may have added, and some more where the bound was lowered.
local function bound(shard, max_marks)
  local surplus = redis.call('ZCARD', shard[2]) - 1 - max_marks
  if surplus > 0 then forget(shard[1], shard[2], math.min(surplus, #shard + 16)) end
end

-- The highest number that any tag of a shard was purged at.
local function highest_mark(shard)
  local highest = redis.pcall('ZRANGE', shard[2], -1, -1, 'WITHSCORES')
  return not highest.err and tonumber(highest[2] or '') or 0
end
