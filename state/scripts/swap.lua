-- Replaces the value of a key if it equals the one that the caller read. Can be repeated.
-- KEYS 1 the key; ARGV 1 the value read, 2 the new one, 3 TTL in ms. Returns 'ok' or 'lost'.
local v = redis.call('GET', KEYS[1])
if v ~= ARGV[1] and v ~= ARGV[2] then
  return {'lost'}
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {'ok'}
