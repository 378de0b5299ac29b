-- The names remembered for a URL; nil if there are none, or if what stands there cannot be names.
local function remembered(vary)
  local names = redis.pcall('GET', vary)
  if type(names) == 'string' and not string.find(names, '[^\n!-~]') then return names end
end

-- Whether every name in `some` (one a line, sorted) is also in `all`.
local function is_subset(some, all)
  if some == all then return true end
  local known = {}
  for name in string.gmatch(all, '[^\n]+') do known[name] = true end
  for name in string.gmatch(some, '[^\n]+') do
    if not known[name] then return false end
  end
  return true
end
