-- Ends a session for good: what is on its way, of this pod or of one that had the session before, registers it no more.
-- KEYS 1 the session; ARGV 1 the text that names a holding of it, 2 what says that it has ended, 3 TTL of that in ms
-- Gives 'ok' and the session's value, empty when there was none, or 'lost' when somebody else has it.
local v = redis.call('GET', KEYS[1])
local own = v and string.sub(v, 1, #ARGV[1]) == ARGV[1]
if v and v ~= ARGV[2] and not own then
  return {'lost'}
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {'ok', own and v or ''}
