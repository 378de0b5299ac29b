#!lua flags=allow-oom
-- Make the epoch again where it is lost, and take a number at which guards can be born.
--
-- KEYS[1]    the sequence
-- KEYS[2]    the log
-- ARGV[1]    a random id, in case an epoch is to be made
-- ARGV[2]    1 if the caller has seen an epoch before: what it knew may be lost
-- returns    {epoch, number, 1 if the epoch is new and nothing was lost before it else 0, seconds, microseconds}
--@include rule
--@include refused
--@include epochs

local sequence, log = KEYS[1], KEYS[2]
local _, time = clock()
local epoch, number = standing(sequence, info)
if epoch then return {epoch, take(sequence), 0, time[1], time[2]} end
local may_be_lost
epoch, number, may_be_lost = begin_epoch(sequence, log, info, ARGV[1], ARGV[2] == '1', '')
return {epoch, number, may_be_lost and 0 or 1, time[1], time[2]}
