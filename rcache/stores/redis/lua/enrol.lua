-- Registering schemes. Whoever holds or purges a table's tag learns of its schemes; who has done so before did not know of those
-- that are registered now. So none is while somebody holds the tag, and each remembers the last purge of it: its since. A purge that
-- was forgotten has raised the guard's born, by which the entry is judged too.

-- Since when a scheme is registered; nil if it is not.
local function since_of(known, scheme)
  local _, last = string.find(known, '\n' .. scheme .. ' ', 1, true)
  return last and tonumber(string.match(known, '^%d+', last + 1))
end

-- Registers schemes of one table, {guard, marks, table, scheme, ...}. nil if an entry of that start may be made by them, else
-- 'lost' | 'quarantine' | 'held' | 'abandoned', tables | 'purged' | 'crowded': the table has no room for them.
local function enrol(epoch, start, now, shard, most)
  local guard, marks, table_tag = shard[1], shard[2], shard[3]
  local born, quarantine = found(epoch, guard, marks)
  if not born then return 'lost' end
  if quarantine then return quarantine > now and 'quarantine' or 'lost' end

  local known = '\n' .. (redis.call('HGET', guard, SCHEMES .. table_tag) or '')
  local unknown, latest = {}, 0
  for position = 4, #shard do
    local since = since_of(known, shard[position])
    if since then latest = math.max(latest, since) else unknown[#unknown + 1] = shard[position] end
  end
  if #unknown > 0 then
    local _, count = string.gsub(known, ' %d+\n', '')
    if count + #unknown > most then return 'crowded' end
    local objection, abandoned = held_back({guard, marks, table_tag}, now)
    if objection then return objection, abandoned end
    local since = tonumber(redis.call('ZSCORE', marks, table_tag) or '0')
    local ending = string.format(' %.0f\n', since)
    redis.call('HSET', guard, SCHEMES .. table_tag, string.sub(known, 2) .. table.concat(unknown, ending) .. ending)
    latest = math.max(latest, since)
  end
  if latest > start then return 'purged' end
end

-- `enrol` for every table: the first objection, unless holds ran out, whose tags then come all together; or 'crowded' and the
-- tables that have no room.
local function enrol_all(epoch, start, now, shards, most)
  local objection, abandoned, crowded = nil, {}, {}
  for _, shard in ipairs(shards) do
    local verdict, tags = enrol(epoch, start, now, shard, most)
    if verdict == 'crowded' then
      crowded[#crowded + 1] = shard[3]
    else
      objection = objection or verdict
      for _, tag in ipairs(tags or {}) do abandoned[#abandoned + 1] = tag end
    end
  end
  if #abandoned > 0 then return 'abandoned', abandoned end
  if not objection and #crowded > 0 then return 'crowded', crowded end
  return objection
end
