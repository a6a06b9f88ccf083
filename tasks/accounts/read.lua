#!lua flags=no-writes
-- Read the state of every account that a worker serves, and whether its OTPs are tracked: one command that is cheap to send,
-- once a second.
--
-- KEYS  account:<account> of each
-- ARGV  the fields that make a state
-- reply { now (ms), { value or false of each field }, ... , { account whose OTPs are tracked or told of, ... } }, {} for a key of a
--       wrong type
-- cost  O(accounts)
local time = redis.call('TIME')
local reply, tracked = { tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) }, {}
for i, key in ipairs(KEYS) do
  local row = redis.pcall('HMGET', key, unpack(ARGV))
  reply[i + 1] = row.err and {} or row
  local prefix, account = string.match(key, '^(.*otpreport):account:([^:]+)$')
  if redis.call('EXISTS', prefix .. ':otps:' .. account, prefix .. '.' .. account .. NOTICES) > 0 then
    tracked[#tracked + 1] = account
  end
end
reply[#reply + 1] = tracked
return reply
