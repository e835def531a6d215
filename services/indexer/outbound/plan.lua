-- Everything that a plan to seal or to merge starts from.
-- KEYS: buckets, head.  ARGV: 1 when the buckets themselves are wanted.
-- Returns: generation, index, rows in the head, head, buckets in the order of the index.
local state = redis.call('HMGET', KEYS[1], 'generation', 'index', 'num_head')
local blobs = {}
if ARGV[1] == '1' then
  for place, bucket in ipairs(cjson.decode(state[2] or '[]')) do
    blobs[place] = redis.call('HGET', KEYS[1], 'b' .. bucket[1])
  end
end
return {state[1] or '', state[2] or '[]', state[3] or '0', redis.call('GET', KEYS[2]) or '', blobs}
