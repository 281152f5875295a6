-- Lists workers, after it added, renewed or removed one. Can be repeated.
-- KEYS 1 the list; ARGV 1 the worker, '' for none, 2 for how long it counts as alive in ms, '0' to remove it, 3
-- its description, 4 how many workers there can be, 5 the list's lifetime in ms
-- Returns 'ok' or 'full', and each living worker and its description.
local time = now()
local all, alive, known = redis.call('HGETALL', KEYS[1]), {}, 0
for i = 1, #all, 2 do
  local untilTime, description = string.match(all[i + 1], '^(%d+) (.*)$')
  if all[i] == ARGV[1] then
    known = 1
  elseif untilTime and tonumber(untilTime) > time then
    alive[#alive + 1] = all[i]
    alive[#alive + 1] = description
  elseif ARGV[1] ~= '' then
    redis.call('HDEL', KEYS[1], all[i])
  end
end
if ARGV[1] == '' then
  return {'ok', unpack(alive)}
end
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return {'ok', unpack(alive)}
end
if known == 0 and #alive / 2 >= tonumber(ARGV[4]) then
  return {'full', unpack(alive)}
end
redis.call('HSET', KEYS[1], ARGV[1], number(time + ARGV[2]) .. ' ' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {'ok', ARGV[1], ARGV[3], unpack(alive)}
