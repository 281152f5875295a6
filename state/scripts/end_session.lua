-- Ends a session permanently: late writes, of this pod or of one that had the session before, do not register
-- it again. Can be repeated.
-- KEYS 1 the session; ARGV 1 the text that identifies a registration of it, 2 TTL in ms of the mark that
-- replaces the value, 3 '1' to keep the value in the mark, so that a repetition returns it as well
-- Returns 'ok' and the session's value, empty if there was none, or 'lost' if another registration has it.
local v = redis.call('GET', KEYS[1])
local value, keep = v or '', ARGV[3] == '1'
if string.sub(value, 1, 1) == '-' then
  keep = true -- for the next taker, if the one that kept it died
  value = string.sub(value, 3)
  if string.sub(value, 1, #ARGV[1]) ~= ARGV[1] or #value == #ARGV[1] then
    return {'ok', ''}
  end
elseif v and string.sub(value, 1, #ARGV[1]) ~= ARGV[1] then
  return {'lost'}
end
local mark = '- ' .. ARGV[1]
if keep and value ~= '' then
  mark = '- ' .. value
end
redis.call('SET', KEYS[1], mark, 'PX', ARGV[2])
return {'ok', value}
