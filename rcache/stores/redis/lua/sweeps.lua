-- Hands a registry over to the sweeper, under a new name; how many entries it held.
local function hand_over(sweeps, registry, name, epoch, number)
  local held = redis.pcall('ZCARD', registry)
  if type(held) ~= 'number' or held == 0 then return 0 end
  redis.call('RENAME', registry, name)
  put('LPUSH', sweeps, cjson.encode({name, epoch, number}))
  return held
end

-- Keeps the list of what is to be swept within its bound; what is beyond it is left to its TTL.
local function bound_sweeps(sweeps, most, milliseconds)
  redis.call('LTRIM', sweeps, 0, most - 1)
  redis.call('PEXPIRE', sweeps, milliseconds)
end
