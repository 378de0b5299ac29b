#!lua flags=allow-oom
-- Log what was done in the guards.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the log
-- ARGV[1]    the epoch in which it was done
-- ARGV[2]    the kind of record
-- ARGV[3]    the changes, as JSON
-- ARGV[4]    1 if strict writers wait until every node has read it, else 0
-- ARGV[5]    the highest number that a guard knows
-- ARGV[6]    how many records the log keeps, and ARGV[7] for how many milliseconds
-- returns    {number of the record, 1 if strict nodes may be there else 0}; the number is empty where the epoch has ended
--@include rule
--@include put
--@include refused
--@include log

local sequence, log = KEYS[1], KEYS[2]

local epoch, number = standing(sequence, info)
-- A guard that knows more than was ever told: the sequence was set back, and nothing can be judged by numbers any more.
if epoch and tonumber(number) < tonumber(ARGV[5]) then
  redis.call('HDEL', sequence, 'epoch')
  epoch = nil
end
if epoch ~= ARGV[1] then epoch = nil end
local known, bounds = logged_so_far(sequence), {ARGV[6], tonumber(ARGV[7])}
local logged = append(sequence, log, epoch, known, ARGV[2], cjson.decode(ARGV[3]), ARGV[4], clock(), bounds)
return {logged or '', known[4] == 'strict' and 1 or 0}
