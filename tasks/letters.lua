#!lua flags=no-writes
-- Read a page of an account's dead letters by time of death.
--
-- KEYS  1 dead-index  2 dead  3 replays
-- ARGV  1 "1": newest first  2 where to start  3 where to end (both in ZRANGEBYSCORE's notation)  4 page size
--       5 "1": whole records, else the line with the story alone
-- reply { time of the last one read or '' when there are no more, id, died (ms), record, "1" if it is to be sent again, ... }
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
  local record = redis.call('HGET', KEYS[2], page[i])
  if record then
    if ARGV[5] ~= '1' then record = string.match(record, '^[^\n]*') end
    reply[#reply + 1] = page[i]
    reply[#reply + 1] = page[i + 1]
    reply[#reply + 1] = record
    reply[#reply + 1] = redis.call('ZSCORE', KEYS[3], page[i]) == page[i + 1] and '1' or '0'
  end
end
return reply
