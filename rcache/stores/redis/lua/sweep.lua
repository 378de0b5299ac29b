#!lua flags=allow-oom
-- Free the bytes of purged entries, one slice of them.
--
-- No promise rests on it: what it frees could not be used any more, and would have ended by its TTL.
--
-- KEYS[1]    the registries to be swept; each names its entries
-- KEYS[2]    who sweeps
-- ARGV[1]    how many entries to look at
-- ARGV[2]    who asks, and ARGV[3] for how many milliseconds nobody else is to sweep
-- ARGV[4]    1 to be told what the freed entries were stored under
-- returns    {more, freed, number, key, variant, ...}: whether there is more to sweep (1 or 0; -1: somebody else sweeps), how
--            many entries were freed, the number of the purge, and the keys and variants of those

local sweeps, sweeping = KEYS[1], KEYS[2]
local slice, asks, lasts, is_told = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4] == '1'

local by = redis.pcall('GET', sweeping)
if type(by) == 'string' and by ~= asks then return {-1, 0, '0'} end

local function ended()
  redis.call('UNLINK', sweeping)
  return {0, 0, '0'}
end

local oldest = redis.pcall('LINDEX', sweeps, -1)
if type(oldest) ~= 'string' then return ended() end
redis.call('SET', sweeping, asks, 'PX', lasts)
local spelled, sweep = pcall(cjson.decode, oldest)
if not spelled or type(sweep) ~= 'table' or type(sweep[1]) ~= 'string' then
  redis.call('RPOP', sweeps)
  return {1, 0, '0'}
end
local registry, epoch, number = sweep[1], sweep[2], tonumber(sweep[3]) or 0

local members = redis.pcall('ZRANGE', registry, 0, slice - 1)
if members.err then members = {} end
local reply = {1, 0, string.format('%.0f', number)}
for _, entry in ipairs(members) do
  local found = redis.pcall('HMGET', entry, 'epoch', 'start', 'key', 'variant')
  -- What was filled again since the purge lives on: it was started at the purge's number or later, or in another epoch.
  if not found.err and found[1] == epoch and (tonumber(found[2] or '') or number) < number then
    redis.call('UNLINK', entry)
    reply[2] = reply[2] + 1
    if is_told and found[3] and found[4] then
      reply[#reply + 1] = found[3]
      reply[#reply + 1] = found[4]
    end
  end
end
if #members == slice then
  redis.call('ZREMRANGEBYRANK', registry, 0, slice - 1)
  return reply
end
redis.call('UNLINK', registry)
redis.call('RPOP', sweeps)
if redis.call('EXISTS', sweeps) == 0 then
  reply[1] = 0
  redis.call('UNLINK', sweeping)
end
return reply
