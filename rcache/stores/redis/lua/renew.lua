#!lua flags=allow-oom
-- Renew a node's lease, and tell how far it has read; refused if it lapsed, was struck out, is of another epoch, or comes
-- after what the node has said since.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the nodes
-- ARGV[1]    the node
-- ARGV[2]    its counter of renewals
-- ARGV[3]    the number of the last record that it has read
-- returns    {'renewed', epoch, head, number, seconds, microseconds}: the last record, and the sequence; {'refused'}
--@include rule
--@include nodes

local sequence, nodes = KEYS[1], KEYS[2]
local id, counter, tail = ARGV[1], ARGV[2], ARGV[3]

local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end
local epoch, number = standing(sequence, info)
local known = redis.pcall('HMGET', nodes, 'epoch', id)
if not epoch or known.err or known[1] ~= epoch then return {'refused'} end
local now, time = clock()
local mode, lease, _, _, renewed = read_node(known[2])
if not mode or renewed + lease < now or is_late(known[2], counter) then return {'refused'} end
write_node(nodes, id, mode, lease, counter, tail, now)
return {'renewed', epoch, redis.call('HGET', sequence, 'last') or '0', number, time[1], time[2]}
