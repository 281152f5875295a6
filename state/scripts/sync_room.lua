-- Brings a pod's own members of a room up to date and reads the room. May be repeated.
-- KEYS 1 the room's members, 2 the mark that the owner was taken over there
-- ARGV 1 owner, 2 TTL in ms, 3 how many members the room may have, 4 number of removals, then for each of them: login, id;
-- then for each member: login, id, from (the owner that it may be taken from, or ''), record as JSON
-- Gives 'ok' or 'lost'; '1' if something has changed, or ''; for each of the given members 'had', 'new', 'taken' or 'full', in their
-- order; and the values of all members.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return {'lost'}
end
local owner, ttl, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local changed, outcomes = '', {}
local at = 5
for _ = 1, tonumber(ARGV[4]) do
  local has, id = string.match(redis.call('HGET', KEYS[1], ARGV[at]) or '', '^(%S+) (%S+) ')
  if has == owner and id == ARGV[at + 1] then
    redis.call('HDEL', KEYS[1], ARGV[at])
    changed = '1'
  end
  at = at + 2
end
while at <= #ARGV do
  local login, id, from = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local value = owner .. ' ' .. id .. ' ' .. ARGV[at + 3]
  local old = redis.call('HGET', KEYS[1], login)
  local has, hasId = string.match(old or '', '^(%S+) (%S+) ')
  local outcome = 'had'
  if not old then
    outcome = 'new'
    if redis.call('HLEN', KEYS[1]) >= most and from == '' then
      outcome = 'full'
    end
  elseif hasId ~= id or (has ~= owner and has ~= from) then
    outcome = 'taken'
  end
  if (outcome == 'new' or outcome == 'had') and old ~= value then
    redis.call('HSET', KEYS[1], login, value)
    changed = '1'
  end
  outcomes[#outcomes + 1] = outcome
  at = at + 4
end
redis.call('PEXPIRE', KEYS[1], ttl)
local reply = {'ok', changed}
for _, outcome in ipairs(outcomes) do
  reply[#reply + 1] = outcome
end
for _, value in ipairs(redis.call('HVALS', KEYS[1])) do
  reply[#reply + 1] = value
end
return reply
