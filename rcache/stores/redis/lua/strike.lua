#!lua flags=allow-oom
-- Strike out a node that was watched and renewed nothing, if its counter is still the one that was seen.
--
-- KEYS[1]    the nodes
-- ARGV[1]    the node
-- ARGV[2]    its counter
-- returns    1 struck out, 0 it renewed after all
--@include nodes

local nodes, id, seen = KEYS[1], ARGV[1], ARGV[2]

local _, _, counter = read_node(redis.call('HGET', nodes, id) or '')
if counter and counter ~= seen then return 0 end
redis.call('HDEL', nodes, id)
return 1
