#!lua flags=allow-oom
-- Tell a strict writer which nodes there are; a table that is missing is made, and so younger than a lease.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the nodes
-- returns    {epoch, milliseconds since the table was made, node, "mode lease counter tail renewed", ...}; the epoch is empty
--            where there is none
--@include rule
--@include nodes

local sequence, nodes = KEYS[1], KEYS[2]

local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end
local epoch = standing(sequence, info)
if not epoch then return {'', '0'} end
local now = clock()
prepare(nodes, epoch, now)
local reply = {epoch, string.format('%.0f', now - (tonumber(redis.call('HGET', nodes, 'born') or '') or now))}
local all = redis.call('HGETALL', nodes)
for position = 1, #all, 2 do
  if read_node(all[position + 1]) then
    reply[#reply + 1] = all[position]
    reply[#reply + 1] = all[position + 1]
  end
end
return reply
