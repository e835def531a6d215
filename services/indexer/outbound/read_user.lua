-- Reads what is kept for a user. Lists of pins come as one JSON text each: thousands of replies would cost the reader
-- more than all the rest.
-- KEYS: vectors, user, blocked pins, acted pins, and the surface's seen pins if any.
-- ARGV: seen since, acted since.
-- Returns: vectors, user, blocked pins, seen pins, acted pins, each list newest first.
local function since(key, time_ms)
  return cjson.encode(redis.call('ZRANGE', key, '+inf', time_ms, 'BYSCORE', 'REV'))
end
local seen, acted = '[]', '[]'
if KEYS[5] then seen, acted = since(KEYS[5], ARGV[1]), since(KEYS[4], ARGV[2]) end
return {
  redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), since(KEYS[3], '-inf'), seen, acted,
}
