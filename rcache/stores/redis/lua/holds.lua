-- Changing who holds what. A guard that is lost holds nothing, and is not made here.

-- Writes who holds a tag from now on, after `field` had told it; `held` counts the tags with such a field.
local function write_holders(guard, name, field, deadlines)
  local lines = {}
  for transaction, deadline in pairs(deadlines) do
    lines[#lines + 1] = transaction .. ' ' .. string.format('%.0f', deadline)
  end
  if #lines > 0 then
    if not field then redis.call('HINCRBY', guard, 'held', 1) end
    redis.call('HSET', guard, name, table.concat(lines, '\n'))
  elseif field then
    redis.call('HDEL', guard, name)
    if redis.call('HINCRBY', guard, 'held', -1) <= 0 then redis.call('HDEL', guard, 'held') end
  end
end

-- Lifts the holds that `ends(transaction, deadline)` tells, and adds {tag, transaction, ...} to `changes` for each tag.
-- With `names_all`, tags that nobody held are added too.
local function lift(shard, ends, changes, names_all)
  if type(redis.pcall('HGET', shard[1], 'held')) ~= 'string' then
    for position = names_all and 3 or #shard + 1, #shard do changes[#changes + 1] = {shard[position]} end
    return
  end
  for first = 3, #shard, SLICE do
    local fields = hold_fields(shard, first)
    local found = redis.call('HMGET', shard[1], unpack(fields))
    for offset, name in ipairs(fields) do
      local change = {shard[first + offset - 1]}
      if found[offset] then
        local deadlines = holders(found[offset])
        for transaction, deadline in pairs(deadlines) do
          if ends(transaction, deadline) then change[#change + 1] = transaction end
        end
        for position = 2, #change do deadlines[change[position]] = nil end
        if #change > 1 then write_holders(shard[1], name, found[offset], deadlines) end
      end
      if names_all or #change > 1 then changes[#changes + 1] = change end
    end
  end
end
