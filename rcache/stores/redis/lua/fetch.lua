-- To carry a body through Lua costs more than to judge the entry: not where the caller holds a copy, as far as is known.
local function fetch(key)
  return redis.pcall('HMGET', key, 'epoch', 'start', 'guards', 'key', 'variant', 'stored', 'head', 'body', 'sum')
end

-- What is to be judged of an entry that the caller holds a copy of; else all of it.
local function peek(key, held)
  return held == '' and fetch(key) or redis.pcall('HMGET', key, 'epoch', 'start', 'guards', 'sum')
end
