#!lua flags=no-writes
-- Tell what became of letters of one account that were queued for replay.
--
-- KEYS  1 dead-index  2 replays  3 taken
-- ARGV  two for each letter: id, died (ms)
-- reply for each: under_way, dead_again, recalled, or gone (its event has ended, or the letter was purged)
-- cost  O(letters)
local function fate(id, died)
  if redis.call('HEXISTS', KEYS[3], id) == 1 then return 'under_way' end
  local last = redis.call('ZSCORE', KEYS[1], id)
  if not last then return 'gone' end
  if tonumber(last) ~= tonumber(died) then return 'dead_again' end
  return redis.call('ZSCORE', KEYS[2], id) == last and 'under_way' or 'recalled'
end

local reply = {}
for i = 1, #ARGV, 2 do
  reply[#reply + 1] = fate(ARGV[i], ARGV[i + 1])
end
return reply
