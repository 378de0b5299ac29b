-- The one rule, spliced into every script that needs it, so that it exists once.
--
-- An entry may be used only if, for each of its tags: the guard exists and was born at or before the entry's start; the
-- tag's mark is not above its start; the guard is not in quarantine.

local BORN = '\1'       -- the member of the marks that repeats the guard's `born`; no tag can spell it
local SLICE = 1000      -- tags per command: Lua's stack is finite

-- The server's time in milliseconds, and as Redis tells it.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000), time
end

-- What this server says of its history if it is the primary; else nil and why: 'replica', or the error that forbids INFO.
local function history()
  local info = redis.pcall('INFO', 'replication')
  if type(info) == 'table' then return nil, info.err end
  if not string.find(info, 'role:master', 1, true) then return nil, 'replica' end
  return info
end

-- Epoch and number of the sequence; nil unless the epoch was made under this very history. To find the replid it was made
-- under costs a fraction of cutting out the one that holds.
local function standing(sequence, info)
  local seq = redis.pcall('HMGET', sequence, 'epoch', 'n', 'replid')
  if seq.err or not seq[1] or not seq[2] or not seq[3] then return nil end
  -- A number beyond fifteen digits would lose its last ones on the way through Lua.
  if #seq[2] > 15 or not string.find(seq[2], '^%d+$') then return nil end
  if not string.find(info, 'master_replid:' .. seq[3] .. '\r', 1, true) then return nil end
  return seq[1], seq[2]
end

-- `born` and the end of the quarantine of a guard, if it is of this epoch and `repeated`, the marks' word, agrees; nil if
-- it is lost.
local function guarded(epoch, guard, repeated)
  local held = redis.pcall('HMGET', guard, 'epoch', 'born', 'quarantine')
  if held.err or held[1] ~= epoch or not repeated then return nil end
  local born = tonumber(held[2] or '')
  if not born or born ~= tonumber(repeated) then return nil end
  return born, tonumber(held[3] or '')
end

-- `guarded` where no tag is to be judged.
local function found(epoch, guard, marks)
  local repeated = redis.pcall('ZSCORE', marks, BORN)
  return guarded(epoch, guard, type(repeated) == 'string' and repeated)
end

-- The marks of the tags from position `first` on, after what the marks repeat of `born`.
local function scores(shard, first)
  local marks = redis.pcall('ZMSCORE', shard[2], BORN, unpack(shard, first, math.min(first + SLICE - 1, #shard)))
  return marks.err and {} or marks
end

-- What the rule says of `start` in one shard, {guard, marks, tag, ...}: nil if it may be used, else
-- 'lost' | 'quarantine' | 'former' (born later) | 'purged'. A quarantine that ran out is still to be ended by a repair:
-- until then it is a loss.
local function judge(epoch, start, now, shard)
  local marks = scores(shard, 3)
  local born, quarantine = guarded(epoch, shard[1], marks[1])
  if not born then return 'lost' end
  if quarantine then return quarantine > now and 'quarantine' or 'lost' end
  if born > start then return 'former' end
  for first = 3, #shard, SLICE do
    if first > 3 then marks = scores(shard, first) end
    for position = 2, #marks do
      local mark = marks[position]
      if mark and tonumber(mark) > start then return 'purged' end
    end
  end
end

-- `judge` for every shard; the first objection.
local function judge_all(epoch, start, now, shards)
  for _, shard in ipairs(shards) do
    local objection = judge(epoch, start, now, shard)
    if objection then return objection end
  end
end
