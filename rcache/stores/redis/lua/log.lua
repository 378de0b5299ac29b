-- Writing the log: a step of its own, that needs nothing but the keys of the namespace itself.

-- What `append` needs to know of the sequence: the last record, where the log was last cut and when, and `strict` if nodes
-- joined that writers are to wait for.
local function logged_so_far(sequence)
  local known = redis.pcall('HMGET', sequence, 'last', 'cut', 'cut_at', 'near')
  return known.err and {} or known
end

-- Appends a record of `kind` under `number`, or the next one, which it returns; nil where there is no epoch to follow.
--
-- `changes` are {tag, transaction, ...} in turn: which transactions now hold a tag (kind `hold`), or hold it no more.
-- `awaited` is 1 if strict writers wait until every node has read it. `bounds` are the records kept, and their age in
-- milliseconds: whoever reads so late has lost its place.
local function append(sequence, log, epoch, known, kind, changes, awaited, now, bounds, number)
  if not epoch then return nil end
  number = number or string.format('%.0f', put('HINCRBY', sequence, 'n', 1))
  local function add()
    return redis.pcall('XADD', log, 'MAXLEN', '~', bounds[1], number, 'epoch', epoch, 'before', known[1] or '0',
      'kind', kind, 'changes', #changes > 0 and cjson.encode(changes) or '[]', 'awaited', awaited)
  end
  local added = add()
  if type(added) == 'table' and added.err then
    -- Another's value, or a log that is ahead of its sequence: nodes that had read it find their place gone.
    redis.call('UNLINK', log)
    add()
  end
  -- Ids are numbers, which know no age: what was the last record one age ago is remembered.
  local cut_at = tonumber(known[3] or '')
  if not cut_at or cut_at + bounds[2] <= now or cut_at > now then
    if cut_at and known[2] then redis.call('XTRIM', log, 'MINID', known[2]) end
    redis.call('HSET', sequence, 'last', number, 'cut', number, 'cut_at', string.format('%.0f', now))
  else
    redis.call('HSET', sequence, 'last', number)
  end
  return number
end
