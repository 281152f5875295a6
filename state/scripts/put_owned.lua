-- Writes a key unless its value begins with another text than the writer's, which names the owner.
-- KEYS 1 the key; ARGV 1 the text, 2 what follows it, 3 TTL in ms. Gives 'ok' or 'lost'.
local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then
  return {'lost'}
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return {'ok'}
