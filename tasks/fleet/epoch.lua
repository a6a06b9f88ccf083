#!lua flags=allow-oom
-- Count a worker's heartbeat, and find out whether Redis still has what this worker has seen in it.
--
-- KEYS  1 maintenance
-- ARGV  1 the format that this version keeps  2 the epoch that the worker saw last, '' before its first heartbeat
--       3 the count that it saw  4 the random part of a new epoch  5 what an operator holds or sheds, as the worker knows it
--       6 when this worker's last heartbeat was (ms), 0 before its first
-- reply { format }, and nothing is written, where it is above ours; else
--       { format, epoch, count, found (ms), left (ms), by hand, now (ms) }: when a worker last found that Redis had come back without its
--       memory, of when what Redis has left is, and ARGV 5 of then; '' for never, for nothing left
-- cost  O(1)
--
-- An epoch is "<number>:<random>". The number rises with each loss, so that the first worker to find one tells all others.
local own, seen, seen_count = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local GAP, ARRIVAL = 10000, 60000 -- ms without a heartbeat that are worth noting; in which all that are there come back
local state = need(KEYS[1], redis.pcall('HMGET', KEYS[1], 'format', 'epoch', 'count', 'beat_ms', 'gap_at_ms', 'gap_from_ms'))

-- Returns the number that a text begins with; 0 where there is none, for a hand may have written there.
local function number(text)
  local digits = string.match(text or '', '^%d+')
  return digits and #digits <= 15 and tonumber(digits) or 0
end

local format, epoch, count = number(state[1]), state[2] or '', number(state[3])
if format > own then return { format } end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- A worker that knows of nothing may have come first, and its heartbeat hides of when the rest is.
local beat, gap_at, gap_from = state[4] or '', number(state[5]), state[6] or ''
if math.abs(now - number(beat)) > GAP then
  gap_at, gap_from = now, beat
  redis.call('HSET', KEYS[1], 'gap_at_ms', gap_at, 'gap_from_ms', gap_from)
end

local older = number(epoch) < number(seen) or (number(epoch) == number(seen) and (epoch ~= seen or count < seen_count))
local lost = seen ~= '' and older
if lost then
  local left = beat
  if gap_at >= tonumber(ARGV[6]) and math.abs(now - gap_at) < ARRIVAL then left = gap_from end
  redis.call('HSET', KEYS[1], 'lost_at_ms', now, 'lost_left_ms', left, 'lost_by_hand', ARGV[5])
end
if lost or epoch == '' then
  epoch = string.format('%d:%s', math.max(number(epoch), number(seen)) + 1, ARGV[4])
end
count = math.max(count, lost and seen_count or 0) + 1
redis.call('HSET', KEYS[1], 'format', own, 'epoch', epoch, 'count', count, 'beat_ms', now)
local last = redis.call('HMGET', KEYS[1], 'lost_at_ms', 'lost_left_ms', 'lost_by_hand')
return { own, epoch, count, last[1] or '', last[2] or '', last[3] or '', now }
