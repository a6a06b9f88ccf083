#!lua flags=allow-oom
-- Put corrected messages in the place of dead letters of one account, and ask for them to be sent again.
--
-- KEYS  1 dead  2 dead-index  3 replays  4 replay
-- ARGV  1 share of the rate, for all that wait  2 rate group  3 its limit (1/s)  then three for each letter: id, died (ms), record
-- reply how many were put in; a letter that is gone, died at another time than was read, or waits already, is left alone
-- cost  O(letters)
-- The letter keeps its id, time of death and reason, so the books and the index stay as they are.
local corrected = 0
for i = 4, #ARGV, 3 do
  local id = ARGV[i]
  local died = redis.call('ZSCORE', KEYS[2], id)
  local is_same = died and tonumber(died) == tonumber(ARGV[i + 1]) and redis.call('HEXISTS', KEYS[1], id) == 1
  if is_same and redis.call('ZSCORE', KEYS[3], id) ~= died then
    redis.call('HSET', KEYS[1], id, ARGV[i + 2])
    redis.call('ZADD', KEYS[3], died, id)
    corrected = corrected + 1
  end
end
if corrected > 0 then redis.call('HSET', KEYS[4], 'share', ARGV[1], 'group', ARGV[2], 'limit', ARGV[3]) end
return corrected
