#!lua flags=no-writes
-- Tell where an event with a tag is now. It names no keys, so that a user who may only read them may call it.
--
-- ARGV  1 key prefix  2 account  3 tag  4 bytes of a record, at most
-- reply { 'scheduled' or 'suspects', when due (ms), record }; { 'leased', worker or '' where none has it, record };
--       { 'dead', died (ms), record, '1' if it is queued for replay, bytes of its message }; { } where it is in none of these
-- cost  O(workers)
local prefix, account, tag, longest = ARGV[1] .. 'otpreport:', ':' .. ARGV[2], ARGV[3], tonumber(ARGV[4])
local record = redis.call('HGET', prefix .. 'taken' .. account, tag)
if record then
  record = string.sub(record, 1, longest)
  for _, place in ipairs({ 'scheduled', 'suspects' }) do
    local due = redis.call('ZSCORE', prefix .. place .. account, tag)
    if due then return { place, due, record } end
  end
  for _, worker in ipairs(redis.call('ZRANGE', prefix .. 'workers', 0, -1)) do
    if redis.call('SISMEMBER', prefix .. 'held:' .. worker, tag) == 1 then return { 'leased', worker, record } end
  end
  return { 'leased', '', record }
end
local died = redis.call('ZSCORE', prefix .. 'dead-index' .. account, tag)
local letter = died and redis.call('HGET', prefix .. 'dead' .. account, tag)
if not letter then return {} end
local line = string.find(letter, '\n', 1, true) or 0
local waits = redis.call('ZSCORE', prefix .. 'replays' .. account, tag) == died and '1' or '0'
return { 'dead', died, string.sub(letter, 1, longest), waits, #letter - line }
