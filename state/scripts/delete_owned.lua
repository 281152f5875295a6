-- Deletes a key if its value begins with a text, which names the owner.
-- KEYS 1 the key; ARGV 1 the text. Returns 'ok' and the deleted value, or 'none'.
local v = redis.call('GET', KEYS[1])
if not v or string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then
  return {'none'}
end
redis.call('DEL', KEYS[1])
return {'ok', v}
