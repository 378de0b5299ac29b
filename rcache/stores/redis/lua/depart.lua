-- A node has ended.
--
-- KEYS[1]    its row
-- KEYS[2]    the nodes, by when they told last
-- ARGV[1]    the node
-- returns    how many rows there were
redis.pcall('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
