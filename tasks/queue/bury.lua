-- What no worker gets: a message of more than MAX_BYTES bytes, and an event that kills whoever holds it alone, which could not
-- be told from outside if it kills on being received. In front of the scripts that hand events on (tasks/script.py).
--
-- A script can't see how long a message is without having it, and then Redis holds it four times. So messages are taken one
-- at a time, a call takes no more once it had BUDGET bytes, and a long one is let go of at once.
local BUDGET = 262144
local buried = {}
local reasons = prefix .. 'otpreport:dead-reasons'

-- Returns a record's deaths, those alone, when it was first leased (ms), its history, and where its message begins.
local function read_record(record)
  local _, at, deaths, solitary, first, history = string.find(record, '^(%d+) (%d+) (%d+)\n([^\n]*)\n')
  if at then return tonumber(deaths), tonumber(solitary), tonumber(first), history, at + 1 end
  return 0, 0, 0, '', 1
end

-- Write a dead letter, as tasks/dead_letters/write.py does, with the first MAX_BYTES bytes of the message; `bytes` tells of the rest.
-- Returns whether that could be done; then the event may be in no other place.
local function bury(account, tag, now, reason, record)
  -- Returns the attempts of a history as a dead letter has them, the last one's answer, and whether one is in doubt.
  local function read_history(line)
    local read, history = pcall(cjson.decode, line)
    if not read or type(history) ~= 'table' or type(history.attempts) ~= 'table' then return '', {}, false, false end
    local attempts, in_doubt = {}, history.doubted == true
    for i, row in ipairs(history.attempts) do
      local words = {}
      for j = 1, 6 do words[j] = cjson.encode(row[j]) end
      attempts[i] = string.format('{"at_ms":%s,"class":%s,"code":%s,"message":%s,"request_id":%s,"duration_ms":%s}', unpack(words))
      in_doubt = in_doubt or row[2] == 'unknown'
    end
    local replayed = type(history.replayed_ms) == 'number' and history.replayed_ms
    return table.concat(attempts, ','), history.attempts[#history.attempts] or {}, in_doubt, replayed
  end

  local dead, index = key('dead', account), key('dead-index', account)
  if not (sound(dead, 'hash') and sound(index, 'zset') and countable(reasons, account .. ':' .. reason)) then return false end
  local deaths, _, first, line, from = read_record(record)
  local attempts, last, in_doubt, replayed = read_history(line)
  local length = #record - from + 1
  local why, bytes = deaths .. ' workers died while they held it', ''
  if reason == 'invalid' then
    why = string.format('the message has %d bytes, more than %d', length, MAX_BYTES)
    bytes = string.format('"bytes":%d,', length)
  end
  if replayed then bytes = bytes .. string.format('"replayed_at_ms":%.0f,', replayed) end
  local story = string.format(
    '{"id":%s,"account":%s,"reason":"%s","why":"%s","class":%s,"code":%s,"message":%s,"request_id":%s,"in_doubt":%s,' ..
    '"deaths":%d,"first_at_ms":%.0f,"last_at_ms":%.0f,"event":null,%s"attempts":[',
    cjson.encode(tag), cjson.encode(account), reason, why, cjson.encode(last[2]), cjson.encode(last[3]),
    cjson.encode(last[4]), cjson.encode(last[5]), tostring(in_doubt), deaths, first, now, bytes)
  redis.call('HSET', dead, tag, story .. attempts .. ']}\n' .. string.sub(record, from, from + MAX_BYTES - 1))
  redis.call('ZADD', index, now, tag)
  redis.call('HINCRBY', reasons, account .. ':' .. reason, 1)
  if is_automatic(tag) then refuse(account, tag, replayed, now) end
  for _, word in ipairs({ account, tag, reason, replayed and '1' or '' }) do buried[#buried + 1] = word end
  return true
end

-- Returns why no worker may have this record; nil when one may.
local function unfit(record, is_suspect)
  if #record > MAX_BYTES then
    local _, _, _, _, from = read_record(record)
    if #record - from + 1 > MAX_BYTES then return 'invalid' end
  end
  if is_suspect and tonumber(string.match(record, '^%d+ (%d+)') or 0) >= SOLITARY_DEATHS then return 'poison' end
end
