-- Reports that the tracker made of OTPs not verified (track.lua): in front of the scripts that handle events (tasks/script.py).
--
-- They are events as any other, but come after all others, and an account is not judged by them. lease.lua gives them a tag
-- that tells, so no script reads a message for it. One that waits for another try stands in `scheduled` at its time plus LOW:
-- behind every other event, and an older worker, which takes it for stranded, lets it go as one of these.
local function is_automatic(tag)
  return string.find(tag, ':n%d+$') ~= nil
end

local function low_of(tag)
  return is_automatic(tag) and LOW or 0
end

-- Remove a letter that is one too many.
local function let_letter_go(account, tag)
  local dead, reasons = key('dead', account), prefix .. 'otpreport:dead-reasons'
  local letter = redis.call('HGET', dead, tag)
  if not letter or redis.pcall('ZSCORE', key('replays', account), tag) then return end
  redis.call('HDEL', dead, tag)
  redis.call('ZREM', key('dead-index', account), tag)
  local field = account .. ':' .. (string.match(letter, '^[^\n]-"reason":"(%l+)"') or '')
  if redis.call('HINCRBY', reasons, field, -1) <= 0 then redis.call('HDEL', reasons, field) end
  redis.call('HINCRBY', prefix .. 'otpreport:books', account .. ':purged', 1)
end

-- Note that one failed for good, whose dead letter is written: it is counted, once, and the oldest letter beyond so many goes.
-- A letter that is replayed and refused again stays one.
local function refuse(account, tag, was_replayed, now)
  local otps, letters = key('otps', account), key('refused-index', account)
  if not was_replayed and sound(otps, 'hash') then
    failed(otps .. ' queued', redis.pcall('HINCRBY', otps, 'queued', -1))
    failed(otps .. ' refused', redis.pcall('HINCRBY', otps, 'refused', 1))
  end
  if failed(letters, redis.pcall('ZADD', letters, now, tag)) or redis.call('ZCARD', letters) <= REFUSED_LETTERS then return end
  local oldest = redis.call('ZRANGE', letters, 0, 0)[1]
  redis.call('ZREM', letters, oldest)
  let_letter_go(account, oldest)
end
