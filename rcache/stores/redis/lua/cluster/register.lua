#!lua
-- Note that an entry carries a tag.
--
-- KEYS[1]    the tag's registry
-- ARGV[1]    the entry
-- ARGV[2]    the end of its storage, in milliseconds
-- returns    1
--@include rule
--@include put
--@include entries

register(KEYS[1], ARGV[1], ARGV[2], clock())
return 1
