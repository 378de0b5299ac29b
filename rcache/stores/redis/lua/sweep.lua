#!lua flags=allow-oom
-- Free the bytes of purged entries, one slice of them.
--
-- No promise rests on it: what it frees could not be used any more, and would have ended by its TTL.
--
-- KEYS[1]    the registries to be swept; each names its entries
-- ARGV[1]    how many entries to look at
-- returns    1 if there is more to sweep, else 0

local sweeps = KEYS[1]
local slice = tonumber(ARGV[1])

local oldest = redis.pcall('LINDEX', sweeps, -1)
if type(oldest) ~= 'string' then return 0 end
local spelled, sweep = pcall(cjson.decode, oldest)
if not spelled or type(sweep) ~= 'table' or type(sweep[1]) ~= 'string' then
  redis.call('RPOP', sweeps)
  return 1
end
local registry, epoch, number = sweep[1], sweep[2], tonumber(sweep[3])

local members = redis.pcall('ZRANGE', registry, 0, slice - 1)
if members.err then members = {} end
for _, entry in ipairs(members) do
  local found = redis.pcall('HMGET', entry, 'epoch', 'start')
  -- What was filled again since the purge lives on: it was started at the purge's number or later, or in another epoch.
  if not found.err and found[1] == epoch and (tonumber(found[2] or '') or number) < number then
    redis.call('UNLINK', entry)
  end
end
if #members == slice then
  redis.call('ZREMRANGEBYRANK', registry, 0, slice - 1)
  return 1
end
redis.call('UNLINK', registry)
redis.call('RPOP', sweeps)
return redis.call('EXISTS', sweeps)
