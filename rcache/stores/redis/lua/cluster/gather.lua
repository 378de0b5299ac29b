#!lua flags=allow-oom
-- Take a slice of purged entries out of the registries to be swept; they lie on other servers, where the caller frees them.
--
-- What it takes and does not free is left to its TTL.
--
-- KEYS[1]    the shard's registries to be swept
-- KEYS[2]    who sweeps them
-- ARGV[1]    how many entries to take
-- ARGV[2]    who asks, and ARGV[3] for how many milliseconds nobody else is to sweep
-- returns    {epoch and number of the purge, entry, ...}; empty if there is nothing to sweep, or somebody else sweeps
local sweeps, sweeping = KEYS[1], KEYS[2]
local by = redis.pcall('GET', sweeping)
if type(by) == 'string' and by ~= ARGV[2] then return {} end
redis.call('SET', sweeping, ARGV[2], 'PX', ARGV[3])

local oldest = redis.pcall('LINDEX', sweeps, -1)
while type(oldest) == 'string' do
  local spelled, sweep = pcall(cjson.decode, oldest)
  if spelled and type(sweep) == 'table' and type(sweep[1]) == 'string' then
    local taken = redis.pcall('ZPOPMIN', sweep[1], ARGV[1])
    if not taken.err and #taken > 0 then
      local reply = {tostring(sweep[2]), string.format('%.0f', tonumber(sweep[3]) or 0)}
      for position = 1, #taken, 2 do reply[#reply + 1] = taken[position] end
      return reply
    end
    redis.call('UNLINK', sweep[1])
  end
  redis.call('RPOP', sweeps)
  oldest = redis.pcall('LINDEX', sweeps, -1)
end
redis.call('UNLINK', sweeping)
return {}
