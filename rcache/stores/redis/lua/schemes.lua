-- The schemes of tables, ways in which they are asked for rows. They lie in the guard of the table's tag, and die with it.

local SCHEMES = 's:'    -- before a table: the guard's field of its schemes, "scheme since" one a line

-- What is registered for the tables of one shard, {guard, marks, table, ...}, one after the other in `told`; false where the
-- guard may have forgotten some.
local function tell_schemes(epoch, shard, told)
  local born, quarantine = found(epoch, shard[1], shard[2])
  for position = 3, #shard do
    told[#told + 1] = born and not quarantine and (redis.call('HGET', shard[1], SCHEMES .. shard[position]) or '') or false
  end
end
