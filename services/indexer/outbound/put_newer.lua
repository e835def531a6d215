-- Stores a value unless the stored one is newer. The first bytes of a value are its version, big-endian.
-- KEYS: key.  ARGV: value, number of version bytes, hash field ('' = the key is a string).
-- Returns: 1 when stored, 0 when an older one came late.
local width = tonumber(ARGV[2])
local stored
if ARGV[3] == '' then
  stored = redis.call('GETRANGE', KEYS[1], 0, width - 1)
else
  stored = string.sub(redis.call('HGET', KEYS[1], ARGV[3]) or '', 1, width)
end
for place = 1, #stored do
  local old, new = string.byte(stored, place), string.byte(ARGV[1], place)
  if new > old then break end
  if new < old then return 0 end
end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[3], ARGV[1]) end
return 1
