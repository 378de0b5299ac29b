-- Carries a command out on a key; a value of another type under it is nobody's, and gives way.
local function put(command, name, ...)
  local result = redis.pcall(command, name, ...)
  if type(result) == 'table' and result.err then
    redis.call('UNLINK', name)
    result = redis.call(command, name, ...)
  end
  return result
end
