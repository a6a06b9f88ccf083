#!lua flags=no-writes
-- Read the state of every account that a worker serves: one command that is cheap to send, once a second.
--
-- KEYS  account:<account> of each
-- ARGV  the fields that make a state
-- reply { now (ms), { value or false of each field }, ... }, {} for a key of a wrong type
-- cost  O(accounts)
local time = redis.call('TIME')
local reply = { tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) }
for i, key in ipairs(KEYS) do
  local row = redis.pcall('HMGET', key, unpack(ARGV))
  reply[i + 1] = row.err and {} or row
end
return reply
