-- Soft purges: what carries the tags and was started before counts as stale, not as dead.

-- Notes a soft purge in a guard that stands. Beyond `most` notes all are forgotten, and everything of the shard counts as stale
-- since now.
local function soften(shard, number, now, most)
  local note, added = string.format('%.0f %.0f', number, now), 0
  for position = 3, #shard do added = added + redis.call('HSET', shard[1], SOFT .. shard[position], note) end
  redis.call('HSET', shard[1], 'soft', string.format('%.0f', number))
  if redis.call('HINCRBY', shard[1], 'softs', added) > most then
    local fields = redis.call('HGETALL', shard[1])
    for position = 1, #fields, 2 do
      if string.sub(fields[position], 1, #SOFT) == SOFT then redis.call('HDEL', shard[1], fields[position]) end
    end
    redis.call('HSET', shard[1], SOFT .. BORN, note, 'softs', 0)
  end
end
