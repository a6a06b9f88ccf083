-- The names of an account's keys (tasks/keys.py): in front of the scripts that have the key prefix as first argument.
local prefix = ARGV[1]

local function key(kind, account)
  return prefix .. 'otpreport:' .. kind .. ':' .. account
end

