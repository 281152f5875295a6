-- Registers a session, unless it ended or another owner has it in the same or a later generation. A session
-- that no other pod can take has no other owner in the same generation, and ends only with this registration
-- of it: a pod that was taken over registers it again in its next life.
-- KEYS 1 the session; ARGV 1 the text that identifies a registration of it, 2 generation, 3 the rest of the
-- value, 4 TTL in ms, 5 '1' if other pods can take the session
-- Returns 'ok' or 'lost'.
local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, 1) == '-' then
  if ARGV[5] == '1' or string.sub(v, 3, 2 + #ARGV[1]) == ARGV[1] then
    return {'lost'}
  end
elseif v and string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then
  local later = tonumber(string.match(v, '^%S+ %S+ (%d+) ')) - tonumber(ARGV[2])
  if later > 0 or (later == 0 and ARGV[5] == '1') then
    return {'lost'}
  end
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
return {'ok'}
