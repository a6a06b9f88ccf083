#!lua flags=allow-oom
-- Ask for dead letters of one account to be sent again: from now on lease.lua takes them, below live traffic.
--
-- KEYS  1 dead-index  2 replays  3 replay
-- ARGV  1 share of the rate, for all that wait  2 rate group  3 its limit (1/s)  then two for each letter: id, died (ms)
-- reply how many were not asked for yet; a letter that is gone, or died at another time than was read, is left alone
-- cost  O(letters)
local marked = 0
for i = 4, #ARGV, 2 do
  local died = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if died and tonumber(died) == tonumber(ARGV[i + 1]) and redis.call('ZSCORE', KEYS[2], ARGV[i]) ~= died then
    redis.call('ZADD', KEYS[2], died, ARGV[i])
    marked = marked + 1
  end
end
if marked > 0 then redis.call('HSET', KEYS[3], 'share', ARGV[1], 'group', ARGV[2], 'limit', ARGV[3]) end
return marked
