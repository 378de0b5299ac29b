-- The nodes with a near cache: a hash of `epoch`, `born` (milliseconds), and for each node
-- "mode lease counter tail renewed": `strict` or `fast`, milliseconds, renewals so far, the last record it has read, milliseconds.

local function write_node(nodes, id, mode, lease, counter, tail, now)
  redis.call('HSET', nodes, id, table.concat({mode, lease, counter, tail, string.format('%.0f', now)}, ' '))
end

-- mode, lease, counter, tail, renewed; nil if that is no node.
local function read_node(field)
  return string.match(field or '', '^(%a+) (%d+) (%d+) (%d+) (%d+)$')
end

-- Whether what a node says under that counter comes after what it said later.
local function is_late(field, counter)
  local _, _, known = read_node(field)
  return known and tonumber(known) >= tonumber(counter)
end

-- Makes the table where it is missing or of another epoch; strict writers do not trust one younger than a lease.
local function prepare(nodes, epoch, now)
  local known = redis.pcall('HGET', nodes, 'epoch')
  if known == epoch then return end
  redis.call('UNLINK', nodes)
  redis.call('HSET', nodes, 'epoch', epoch, 'born', string.format('%.0f', now))
end
