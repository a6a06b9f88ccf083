#!lua flags=allow-oom
-- Drop the oldest messages of a queue that no worker serves; no book knows them, for they were never taken.
--
-- KEYS  1 list  ARGV  1 how many at most
-- reply how many were dropped
-- cost  O(messages dropped)
local dropped = math.min(redis.call('LLEN', KEYS[1]), tonumber(ARGV[1]))
if dropped > 0 then redis.call('LTRIM', KEYS[1], 0, -dropped - 1) end
return dropped
