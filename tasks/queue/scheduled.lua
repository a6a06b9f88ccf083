#!lua flags=no-writes
-- Read records of events that wait in the schedule, as many of those named as a bounded number of bytes holds.
--
-- KEYS  1 scheduled  2 taken
-- ARGV  1 how many bytes in all, but one record at least  2 how many of a record, at most  then the tags
-- reply { how many were looked at, for each that is still there: tag, score, record, ... }
-- cost  O(bytes read)
local left, longest = tonumber(ARGV[1]), tonumber(ARGV[2])
local reply = { 0 }
for i = 3, #ARGV do
  local due = redis.call('ZSCORE', KEYS[1], ARGV[i])
  local record = due and redis.call('HGET', KEYS[2], ARGV[i])
  if record then
    left = left - #record
    reply[#reply + 1] = ARGV[i]
    reply[#reply + 1] = due
    reply[#reply + 1] = string.sub(record, 1, longest)
  end
  reply[1] = reply[1] + 1
  if left <= 0 then break end
end
return reply
