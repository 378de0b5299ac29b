#!lua flags=allow-oom
-- Tell those who wait for a lease that it has ended.
--
-- KEYS[1]    the news
-- ARGV[1]    the lease
-- ARGV[2]    the id of its holder
-- ARGV[3]    how its run ended
-- ARGV[4]    how many news are kept, and ARGV[5] for how many milliseconds after the last
-- returns    1
--@include put

put('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'lease', ARGV[1], 'by', ARGV[2], 'word', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
