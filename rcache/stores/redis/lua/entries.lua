-- Writing an entry, its URL's names and variants, and the registries of its tags.

-- Lets a key live until `ends` at least. GT alone would leave a key without TTL as it is.
local function outlive(name, ends)
  redis.call('PEXPIREAT', name, ends, 'NX')
  redis.call('PEXPIREAT', name, ends, 'GT')
end

-- Drops a few members whose end has come. ZREMRANGEBYSCORE would know no limit.
local function trim(name, now)
  for _, dead in ipairs(redis.call('ZRANGE', name, '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 3)) do
    redis.call('ZREM', name, dead)
  end
end

-- Makes room for the entry `key` among a URL's variants, where `names` select among them; `needed` were remembered.
local function select_by(names, needed, vary, variants, key, plain, max_variants, ends, now)
  if names == '' then return end
  if needed ~= names then
    -- The variants of fewer names can be selected no more.
    local members = redis.pcall('ZRANGE', variants, 0, -1)
    redis.call('UNLINK', plain, variants, unpack(members.err and {} or members))
    redis.call('SET', vary, names, 'KEEPTTL')
  end
  outlive(vary, ends)
  put('ZADD', variants, ends, key)
  outlive(variants, ends)
  trim(variants, now)
  while redis.call('ZCARD', variants) > max_variants do
    local soonest = redis.call('ZRANGE', variants, 0, 1)
    -- The entry being written stays, though it may be the one that ends soonest.
    local gone = soonest[1] == key and soonest[2] or soonest[1]
    redis.call('ZREM', variants, gone)
    redis.call('UNLINK', gone)
  end
end

-- Writes the entry, whose fields are those of `values` from position `first` on.
local function write_entry(key, ends, values, first)
  redis.call('DEL', key)
  redis.call('HSET', key, 'epoch', values[first], 'start', values[first + 1], 'guards', values[first + 2],
    'key', values[first + 3], 'variant', values[first + 4], 'stored', values[first + 5], 'head', values[first + 6],
    'body', values[first + 7], 'sum', values[first + 8])
  redis.call('PEXPIREAT', key, ends)
end

-- Notes that the entry carries the registry's tag.
local function register(registry, key, ends, now)
  put('ZADD', registry, ends, key)
  outlive(registry, ends)
  trim(registry, now)
end
