-- Tell which commands the user may not run.
--
-- ARGV[1]    commands with arguments of the kind that they are run with: JSON [[command, argument, ...], ...]
-- returns    the positions of those that are forbidden, or whose key is
local forbidden = {}
for position, words in ipairs(cjson.decode(ARGV[1])) do
  if not redis.acl_check_cmd(unpack(words)) then forbidden[#forbidden + 1] = position end
end
return forbidden
