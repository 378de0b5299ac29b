#!lua flags=allow-oom
-- Hand the registries of purged tags over to the sweeper, in one shard. No promise rests on it.
--
-- KEYS[1]    the shard's registries to be swept
-- KEYS[2..]  registry of a tag, and the new name it is swept under, in turns
-- ARGV[1]    the epoch, and ARGV[2] the number of the purge
-- ARGV[3]    how many registries may wait to be swept, and ARGV[4] for how many milliseconds
-- returns    how many entries the registries held
--@include put
--@include sweeps

local entries = 0
for position = 2, #KEYS, 2 do
  entries = entries + hand_over(KEYS[1], KEYS[position], KEYS[position + 1], ARGV[1], tonumber(ARGV[2]))
end
if entries > 0 then bound_sweeps(KEYS[1], ARGV[3], ARGV[4]) end
return entries
