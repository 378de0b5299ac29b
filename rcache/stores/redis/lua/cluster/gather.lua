#!lua flags=allow-oom
-- Take a slice of purged entries out of the registries to be swept; they lie on other servers, where the caller frees them.
--
-- What it takes and does not free is left to its TTL.
--
-- KEYS[1]    the shard's registries to be swept
-- ARGV[1]    how many entries to take
-- returns    {epoch and number of the purge, entry, ...}; empty if there is nothing to sweep
local sweeps = KEYS[1]

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
return {}
