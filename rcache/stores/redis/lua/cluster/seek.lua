-- Find an entry, without judging it: its guards lie on other servers.
--
-- One key alone is declared. It decides who answers while the slot is on its way to another server, and what is missing of
-- the others is nobody's loss.
--
-- KEYS[1]    the entry
-- ARGV[1]    the names that the entry's key was made of, one a line, sorted
-- ARGV[2]    the entry that the caller holds a copy of, "epoch start guards sum"; empty if none
-- ARGV[3]    the URL's vary names, a key of the same slot
-- returns    {'same'}; {'hit', the entry's fields}; {'absent'}; {'damaged'}; {'vary', names that were not considered}
--@include fetch
--@include names

local key, names, held = KEYS[1], ARGV[1], ARGV[2]

local entry = peek(key, held)
if entry.err then return {'damaged'} end
if not (entry[1] and entry[2] and entry[3] and entry[#entry]) then
  -- Variants of fewer names go when a name is added, so only what is not found can be elsewhere.
  local needed = remembered(ARGV[3])
  if needed and not is_subset(needed, names) then return {'vary', needed} end
  return {redis.call('EXISTS', key) == 1 and 'damaged' or 'absent'}
end
if held == '' then return {'hit', unpack(entry)} end
if table.concat(entry, ' ') == held then return {'same'} end
return {'hit', unpack(fetch(key))}
