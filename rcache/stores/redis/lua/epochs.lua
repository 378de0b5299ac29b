-- Beginning an epoch.

-- The next number; a sequence that cannot count gives way.
local function take(sequence)
  local number = redis.pcall('HINCRBY', sequence, 'n', 1)
  if type(number) == 'table' then
    redis.call('DEL', sequence)
    number = redis.call('HINCRBY', sequence, 'n', 1)
  end
  return string.format('%.0f', number)
end

-- Makes `fresh` the epoch, under this server's history: it, the next number, and whether anything known before may be lost.
-- `reign` is that of the caller's sentinels, or empty: connections that are yet to come find it is not of an earlier one.
local function begin_epoch(sequence, log, info, fresh, seen, reign)
  -- Wrong types count as earlier epochs: somebody lost something.
  local earlier = redis.pcall('HGET', sequence, 'epoch')
  local number = take(sequence)
  redis.call('HSET', sequence, 'epoch', fresh, 'replid', string.match(info, 'master_replid:(%w+)'))
  if reign ~= '' and redis.call('HEXISTS', sequence, 'reign') == 0 then
    redis.call('HSET', sequence, 'reign', reign, 'since', string.format('%.0f', clock()))
  end
  -- The log begins anew too: its numbers are another epoch's.
  redis.call('HDEL', sequence, 'last', 'cut', 'cut_at')
  redis.call('UNLINK', log)
  return fresh, number, seen or earlier ~= false
end
