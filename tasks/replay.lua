#!lua flags=allow-oom
-- Move dead letters of one account back among the scheduled events, due now, as if nothing had been tried yet.
--
-- KEYS  1 dead  2 dead-index  3 dead-reasons  4 taken  5 scheduled  6 aged
-- ARGV  1 account
--       then six for each letter: id, died (ms), reason, first leased (ms), occurred_at (ms), its new history
-- reply how many were moved; a letter that is gone, or died at another time than was read, is left alone
-- cost  O(letters); only moves what is there, so it may run in a full Redis
local account = ARGV[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function leave(id, reason)
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
  local field = account .. ':' .. reason
  if redis.call('HINCRBY', KEYS[3], field, -1) <= 0 then redis.call('HDEL', KEYS[3], field) end
end

local moved = 0
for i = 2, #ARGV, 6 do
  local id = ARGV[i]
  local letter = redis.call('HGET', KEYS[1], id)
  local died = redis.call('ZSCORE', KEYS[2], id)
  if letter and died and tonumber(died) == tonumber(ARGV[i + 1]) then
    local raw = string.sub(letter, string.find(letter, '\n', 1, true) + 1)
    redis.call('HSET', KEYS[4], id, '0 0 ' .. ARGV[i + 3] .. '\n' .. ARGV[i + 5] .. '\n' .. raw)
    redis.call('ZADD', KEYS[5], now, id)
    redis.call('ZADD', KEYS[6], ARGV[i + 4], id)
    leave(id, ARGV[i + 2])
    moved = moved + 1
  end
end
return moved
