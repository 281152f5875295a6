-- Replaces the value of a key if it is what the caller has seen. May be repeated.
-- KEYS 1 the key; ARGV 1 the value seen, 2 the new one, 3 TTL in ms. Gives 'ok' or 'lost'.
local v = redis.call('GET', KEYS[1])
if v ~= ARGV[1] and v ~= ARGV[2] then
  return {'lost'}
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {'ok'}
