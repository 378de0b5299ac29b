-- Ends a script that writes, where this server must not answer.
local info, refusal = history()
if not info then
  if refusal == 'replica' then return redis.error_reply('READONLY this server is a replica') end
  return redis.error_reply(refusal)
end
