-- Judge a start by the one rule, in one shard of tags, for somebody who looks: nothing is written.
--
-- KEYS[1]    the guard
-- KEYS[2]    its marks
-- ARGV[1]    the epoch
-- ARGV[2]    the start
-- ARGV[3..]  the tags
-- returns    as cluster/judge.lua
--@include rule

local info, refusal = history()
if not info then
  if refusal == 'replica' then return {'replica'} end
  return {'forbidden', refusal}
end
local objection, abandoned, since = judge(ARGV[1], tonumber(ARGV[2]), clock(), {KEYS[1], KEYS[2], unpack(ARGV, 3)})
if abandoned then return {objection, cjson.encode(abandoned)} end
if since then return {'soft', string.format('%.0f', since)} end
return objection and {objection} or 'fit'
