#!lua flags=no-writes
-- Look at the next keys of the database for queues of accounts that are not configured; their names leave Redis cut.
--
-- ARGV  1 what the name of a queue begins with  2 cursor  3 keys to look at  4 most accounts that are named
--       then the configured accounts
-- reply { next cursor, accounts that are not named, their events, { account, events, ... } with the most events first }
-- cost  O(keys to look at)
local start, cursor, step, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local served = {}
for i = 5, #ARGV do served[ARGV[i]] = true end

-- MATCH reads these as more than themselves
local pattern = string.gsub(start, '[%*%?%[%]\\]', '\\%0') .. '*'

local function shown(key)
  local from, to = #start + 1, #key
  for _, suffix in ipairs(PRIORITY_SUFFIXES) do
    if suffix ~= '' and string.sub(key, -#suffix) == suffix then to = #key - #suffix end
  end
  if to - from + 1 <= LONGEST_NAME then return string.sub(key, from, to) end
  return string.format('%s... (%d bytes)', string.sub(key, from, from + LONGEST_NAME - 1), to - from + 1)
end

local names, waiting = {}, {}
for _ = 1, step / 10 do  -- few at a time, for SCAN returns each name whole
  local reply = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 10, 'TYPE', 'list')
  cursor = reply[1]
  for _, key in ipairs(reply[2]) do
    local name = shown(key)
    if not served[name] then
      if not waiting[name] then names[#names + 1] = name end
      waiting[name] = (waiting[name] or 0) + redis.call('LLEN', key)
    end
  end
  if cursor == '0' then break end
end

table.sort(names, function(a, b)
  if waiting[a] ~= waiting[b] then return waiting[a] > waiting[b] end
  return a < b
end)
local more, events, named = 0, 0, {}
for i, name in ipairs(names) do
  if i <= most then
    named[#named + 1] = name
    named[#named + 1] = waiting[name]
  else
    more, events = more + 1, events + waiting[name]
  end
end
return { cursor, more, events, named }
