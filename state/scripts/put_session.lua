-- Registers a session, unless it ended or another owner took it, in the same or a later generation.
-- KEYS 1 the session; ARGV 1 the text that identifies a registration of it, 2 generation, 3 the rest of the
-- value, 4 TTL in ms. Returns 'ok' or 'lost'.
local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then
  local generation = string.match(v, '^%S+ %S+ (%d+) ')
  if not generation or tonumber(generation) >= tonumber(ARGV[2]) then
    return {'lost'}
  end
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
return {'ok'}
