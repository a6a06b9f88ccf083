#!lua flags=allow-oom
-- End events of one account that wait in the schedule, and book them as purged.
--
-- KEYS  1 scheduled  2 taken  3 aged  4 claims  5 books
-- ARGV  1 account  then three for each event: tag, score, claim ('' where its message can't be read)
-- reply how many were ended; one that a worker has taken, or that waits for another time than was read, is left alone
-- cost  O(events)
local keys = { { KEYS[1], 'zset' }, { KEYS[2], 'hash' }, { KEYS[3], 'zset' }, { KEYS[4], 'hash' }, { KEYS[5], 'hash' } }
local function usable()
  for _, one in ipairs(keys) do
    if not sound(one[1], one[2]) then return false end
  end
  return countable(KEYS[5], ARGV[1] .. ':purged')
end
if not usable() then return redis.error_reply('WRONGTYPE ' .. faults[1]) end

local ended = 0
for i = 2, #ARGV, 3 do
  local tag, claim = ARGV[i], ARGV[i + 2]
  if redis.call('ZSCORE', KEYS[1], tag) == ARGV[i + 1] then
    redis.call('ZREM', KEYS[1], tag)
    redis.call('ZREM', KEYS[3], tag)
    if claim ~= '' and redis.call('HGET', KEYS[4], claim) == tag then redis.call('HDEL', KEYS[4], claim) end
    ended = ended + redis.call('HDEL', KEYS[2], tag)
  end
end
if ended > 0 then redis.call('HINCRBY', KEYS[5], ARGV[1] .. ':purged', ended) end
return ended
