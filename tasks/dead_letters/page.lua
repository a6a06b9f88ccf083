#!lua flags=no-writes
-- List a page of an account's dead letters by time of death.
--
-- KEYS  1 dead-index  2 replays
-- ARGV  1 "1": newest first  2 where to start  3 where to end (both in ZRANGEBYSCORE's notation)  4 page size
-- reply { time of the last one listed or '' when there are no more, id, died (ms), "1" if it is to be sent again, ... }
-- cost  O(page + letters that died in its last millisecond): those come together, so that a page can go on after it
local command = ARGV[1] == '1' and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE'
local page = redis.call(command, KEYS[1], ARGV[2], ARGV[3], 'WITHSCORES', 'LIMIT', 0, ARGV[4])
if #page == 0 then return { '' } end

local last = page[#page]
while #page > 0 and page[#page] == last do
  page[#page] = nil
  page[#page] = nil
end
for _, value in ipairs(redis.call(command, KEYS[1], last, last, 'WITHSCORES')) do
  page[#page + 1] = value
end

local reply = { last }
for i = 1, #page, 2 do
  reply[#reply + 1] = page[i]
  reply[#reply + 1] = page[i + 1]
  reply[#reply + 1] = redis.call('ZSCORE', KEYS[2], page[i]) == page[i + 1] and '1' or '0'
end
return reply
