#!lua flags=allow-oom
-- Join the nodes that keep entries near, at the head of the log; a node that joined before begins anew.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the nodes
-- ARGV[1]    the node, a random id
-- ARGV[2]    `strict` if writers are to wait for it, else `fast`
-- ARGV[3]    its lease in milliseconds
-- ARGV[4]    its counter of renewals
-- ARGV[5]    after how many milliseconds a node that renewed nothing is forgotten
-- returns    {'joined', epoch, head, number, seconds, microseconds}: the last record, and the sequence; {'lost'} where there is
--            no epoch, or the node has said more since
--@include rule
--@include nodes

local sequence, nodes = KEYS[1], KEYS[2]
local id, mode, lease, counter = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end
local epoch, number = standing(sequence, info)
if not epoch then return {'lost'} end

local now, time = clock()
prepare(nodes, epoch, now)
-- A network may deliver what was given up long ago: it must not say that a node which joined anew has read up to here.
if is_late(redis.call('HGET', nodes, id), counter) then return {'lost'} end
local all = redis.call('HGETALL', nodes)
for position = 1, #all, 2 do
  local _, _, _, _, renewed = read_node(all[position + 1])
  if renewed and renewed + ARGV[5] < now then redis.call('HDEL', nodes, all[position]) end
end
local head = redis.call('HGET', sequence, 'last') or '0'
write_node(nodes, id, mode, lease, counter, head, now)
-- Writers learn from the sequence that there are nodes to wait for.
if mode == 'strict' then redis.call('HSET', sequence, 'near', mode) end
return {'joined', epoch, head, number, time[1], time[2]}
