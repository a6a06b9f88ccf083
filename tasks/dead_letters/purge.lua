#!lua flags=allow-oom
-- Delete dead letters of one account and book them as purged.
--
-- KEYS  1 dead  2 dead-index  3 dead-reasons  4 replays  5 books
-- ARGV  1 account  then three for each letter: id, died (ms), reason
-- reply how many were deleted; a letter that is gone, or died at another time than was read, is left alone
-- cost  O(letters)
local account = ARGV[1]

local function leave(id, reason)
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
  redis.call('ZREM', KEYS[4], id)
  local field = account .. ':' .. reason
  if redis.call('HINCRBY', KEYS[3], field, -1) <= 0 then redis.call('HDEL', KEYS[3], field) end
end

local purged = 0
for i = 2, #ARGV, 3 do
  local died = redis.call('ZSCORE', KEYS[2], ARGV[i])
  if died and tonumber(died) == tonumber(ARGV[i + 1]) and redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    leave(ARGV[i], ARGV[i + 2])
    purged = purged + 1
  end
end
if purged > 0 then redis.call('HINCRBY', KEYS[5], account .. ':purged', purged) end
return purged
