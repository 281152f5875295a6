-- Registers a session, unless it has ended or another owner has taken it: then in a later era, or in the same.
-- KEYS 1 the session; ARGV 1 the text that names a holding of it, 2 era, 3 what follows, 4 TTL in ms. Gives 'ok' or 'lost'.
local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then
  local era = string.match(v, '^%S+ %S+ (%d+) ')
  if not era or tonumber(era) >= tonumber(ARGV[2]) then
    return {'lost'}
  end
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
return {'ok'}
