-- Tell the sequence.
--
-- KEYS[1]    the sequence
-- returns    {epoch, number, seconds, microseconds}, the epoch empty where it is lost; {'replica'}, {'forbidden', error}
--@include rule

local info, refusal = history()
if not info then
  if refusal == 'replica' then return {'replica'} end
  return {'forbidden', refusal}
end
local epoch, number = standing(KEYS[1], info)
local _, time = clock()
return {epoch or '', number or '0', time[1], time[2]}
