-- The one rule, spliced into every script that needs it, so that it exists once.
--
-- An entry may be used only if, for each of its tags: the guard exists and was born at or before the entry's start; the
-- tag's mark is not above its start; nobody holds the tag; the guard is not in quarantine.

local BORN = '\1'       -- the member of the marks that repeats the guard's `born`; no tag can spell it
local SLICE = 1000      -- tags per command: Lua's stack is finite
local SOFT = 's:'       -- before a tag: the guard's field of its last soft purge, "number milliseconds"; before BORN: of all
local HELD = 'h:'       -- before a tag: the guard's field of its holds, "transaction deadline" one a line

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

-- `born`, the end of the quarantine, the number of tags held and the number of the last soft purge of a guard, if it is of
-- this epoch and `repeated`, the marks' word, agrees; nil if it is lost.
local function guarded(epoch, guard, repeated)
  local held = redis.pcall('HMGET', guard, 'epoch', 'born', 'quarantine', 'held', 'soft')
  if held.err or held[1] ~= epoch or not repeated then return nil end
  local born = tonumber(held[2] or '')
  if not born or born ~= tonumber(repeated) then return nil end
  return born, tonumber(held[3] or ''), held[4], held[5]
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

-- The fields of a guard that tell who holds the tags from position `first` on.
local function hold_fields(shard, first)
  local fields = {}
  for position = first, math.min(first + SLICE - 1, #shard) do fields[#fields + 1] = HELD .. shard[position] end
  return fields
end

-- Who holds a tag, as its field tells: transaction -> deadline in milliseconds.
local function holders(field)
  local deadlines = {}
  for transaction, deadline in string.gmatch(field, '(%S+) (%d+)') do deadlines[transaction] = tonumber(deadline) end
  return deadlines
end

-- What the holds of one shard say: nil if nobody holds one of its tags, 'held', or 'abandoned' and the tags with a hold
-- that ran out: its writer is dead, and they are to be purged for it.
local function held_back(shard, now)
  local objection, abandoned = nil, {}
  for first = 3, #shard, SLICE do
    for offset, field in ipairs(redis.call('HMGET', shard[1], unpack(hold_fields(shard, first)))) do
      if field then
        objection = 'held'
        for _, deadline in pairs(holders(field)) do
          if deadline <= now and abandoned[#abandoned] ~= shard[first + offset - 1] then
            abandoned[#abandoned + 1] = shard[first + offset - 1]
          end
        end
      end
    end
  end
  if #abandoned > 0 then return 'abandoned', abandoned end
  return objection
end

-- When one of a shard's tags was purged softly after `start`, in milliseconds, the earliest of several tags; nil if none was.
local function softened(shard, start)
  local since
  for first = 3, #shard, SLICE do
    local fields = {SOFT .. BORN}
    for position = first, math.min(first + SLICE - 1, #shard) do fields[#fields + 1] = SOFT .. shard[position] end
    for _, field in ipairs(redis.call('HMGET', shard[1], unpack(fields))) do
      local number, at = string.match(field or '', '^(%d+) (%d+)$')
      if number and tonumber(number) > start then since = math.min(since or tonumber(at), tonumber(at)) end
    end
  end
  return since
end

-- What the rule says of `start` in one shard, {guard, marks, tag, ...}: nil if it may be used, else
-- 'lost' | 'quarantine' | 'held' | 'abandoned', tags | 'former' (born later) | 'purged'. A quarantine that ran out is still
-- to be ended by a repair: until then it is a loss. What may be used comes with since when it is stale by a soft purge.
local function judge(epoch, start, now, shard)
  local marks = scores(shard, 3)
  local born, quarantine, held, soft = guarded(epoch, shard[1], marks[1])
  if not born then return 'lost' end
  if quarantine then return quarantine > now and 'quarantine' or 'lost' end
  if held then
    local objection, tags = held_back(shard, now)
    if objection then return objection, tags end
  end
  if born > start then return 'former' end
  for first = 3, #shard, SLICE do
    if first > 3 then marks = scores(shard, first) end
    for position = 2, #marks do
      local mark = marks[position]
      if mark and tonumber(mark) > start then return 'purged' end
    end
  end
  if soft and tonumber(soft) > start then return nil, nil, softened(shard, start) end
end

-- `judge` for every shard: the first objection, unless holds ran out, whose tags then come all together.
local function judge_all(epoch, start, now, shards)
  local objection, abandoned, since
  for _, shard in ipairs(shards) do
    local verdict, tags, softly = judge(epoch, start, now, shard)
    objection = objection or verdict
    if softly then since = math.min(since or softly, softly) end
    if tags and abandoned then
      for _, tag in ipairs(tags) do abandoned[#abandoned + 1] = tag end
    end
    abandoned = abandoned or tags
  end
  if abandoned then return 'abandoned', abandoned end
  return objection, nil, since
end
