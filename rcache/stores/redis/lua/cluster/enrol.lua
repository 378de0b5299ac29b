#!lua
-- Register schemes of one shard, and judge by them an entry that is to be stored elsewhere.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the entry's epoch
-- ARGV[2]    its start
-- ARGV[3]    how many schemes a table may have
-- ARGV[4]    the schemes, by table: JSON [[table, scheme, ...], ...]
-- returns    'fit', or the objection: {'lost' | 'quarantine' | 'held' | 'purged'}, {'abandoned', the tables, as JSON, with a hold
--            that ran out}, {'crowded', the tables, as JSON, whose own tags the entry has to carry}
--@include rule
--@include refused
--@include cluster/shard
--@include schemes
--@include enrol

local shards = {}
for position, its in ipairs(cjson.decode(ARGV[4])) do shards[position] = {KEYS[1], KEYS[2], unpack(its)} end
local objection, tags = enrol_all(epoch_here(ARGV[1], info), tonumber(ARGV[2]), clock(), shards, tonumber(ARGV[3]))
if tags then return {objection, cjson.encode(tags)} end
return objection and {objection} or 'fit'
