-- Ends a session permanently: late writes, of this pod or of one that had the session before, do not register
-- it again.
-- KEYS 1 the session; ARGV 1 the text that identifies a registration of it, 2 the value of an ended session,
-- 3 its TTL in ms
-- Returns 'ok' and the session's value, empty if there was none, or 'lost' if another registration has it.
local v = redis.call('GET', KEYS[1])
local own = v and string.sub(v, 1, #ARGV[1]) == ARGV[1]
if v and v ~= ARGV[2] and not own then
  return {'lost'}
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {'ok', own and v or ''}
