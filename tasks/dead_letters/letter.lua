#!lua flags=no-writes
-- Read dead letters, as many of those named as a bounded number of bytes holds.
--
-- KEYS  1 dead-index  2 dead
-- ARGV  1 "1": with their messages, else the line with the story alone, but for those without an event  2 how many bytes in all, but one letter at least
--       3 how many of a message, at most  then two for each letter: id, died (ms)
-- reply { how many were looked at, for each that is still there: id, record, bytes of its whole message, ... }
-- cost  O(bytes read): no command tells how long a letter's story is, so each is read whole, and a long one let go of at once
local left, longest = tonumber(ARGV[2]), tonumber(ARGV[3])
local reply = { 0 }
for i = 4, #ARGV, 2 do
  local record = redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] and redis.call('HGET', KEYS[2], ARGV[i])
  if record then
    local line = string.find(record, '\n', 1, true) or 0
    local length = #record - line
    left = left - #record
    reply[#reply + 1] = ARGV[i]
    local story = line > 0 and line - 1 or #record
    local whole = ARGV[1] == '1' or string.find(string.sub(record, 1, story), '"event":null', 1, true)
    reply[#reply + 1] = string.sub(record, 1, whole and line + longest or math.min(story, 4 * longest))
    reply[#reply + 1] = length
    if length > longest then
      record = nil
      collectgarbage('collect')
    end
  end
  reply[1] = reply[1] + 1
  if left <= 0 then break end
end
return reply
