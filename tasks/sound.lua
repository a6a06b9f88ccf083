-- Keys that can't be used: in front of the scripts that move events (tasks/script.py).
--
-- Redis does not take back what a script did before it failed. So what is moved is put into its new place first, or that
-- place is looked at before; and a key that can't be used stops its own account, is told, and raises nothing.
local faults, judged = {}, {}

-- Note why a key can't be used, once.
local function note(key, fault)
  if judged[key] == false then return end
  judged[key] = false
  faults[#faults + 1] = key .. ': ' .. fault
end

-- Returns whether a command failed; then its key is noted.
local function failed(key, reply)
  if type(reply) ~= 'table' or not reply.err then return false end
  note(key, reply.err)
  return true
end

-- Returns the reply, or `otherwise` where the command failed.
local function got(key, reply, otherwise)
  if failed(key, reply) then return otherwise end
  return reply
end

-- Returns whether the key is of this type, or not there.
local function sound(key, kind)
  if judged[key] == nil then
    local size
    if kind == 'hash' then
      size = redis.pcall('HLEN', key)
    elseif kind == 'zset' then
      size = redis.pcall('ZCARD', key)
    else
      size = redis.pcall('SCARD', key)
    end
    judged[key] = not failed(key, size)
  end
  return judged[key]
end

-- Returns whether a field of a hash can be counted up.
local function countable(key, field)
  local count = redis.pcall('HGET', key, field)
  if failed(key, count) then return false end
  if not count or string.find(count, '^-?%d+$') then return true end
  note(key .. ' ' .. field, 'ERR it is no number')
  return false
end

-- Returns the reply; ends the script where the worker can do nothing without this key.
local function need(key, reply)
  if not failed(key, reply) then return reply end
  local code, why = string.match(reply.err, '^(%S+) (.*)$')
  error({ err = code .. ' ' .. key .. ': ' .. why })
end

-- Values in one call: Lua hands over some thousand.
local MOST_VALUES = 1000

-- Give a command many values behind its key, MOST_VALUES at a time; returns what failed, or all entries of the replies where they
-- are lists.
local function many(command, key, values)
  if #values <= MOST_VALUES then return redis.pcall(command, key, unpack(values)) end
  local all = {}
  for i = 1, #values, MOST_VALUES do
    local reply = redis.pcall(command, key, unpack(values, i, math.min(i + MOST_VALUES - 1, #values)))
    if type(reply) ~= 'table' then reply = { reply } end
    if reply.err then return reply end
    for _, entry in ipairs(reply) do all[#all + 1] = entry end
  end
  return all
end
