-- Updates a pod's own members of a room and reads the room. Can be repeated. KEYS 1 the room's members, 2 the
-- mark that the owner was taken over there, 3 departures ARGV 1 owner, 2 TTL in ms, 3 how many members the
-- room can have, 4 time in ms, 5 how long departures are kept in ms, 6 how many departures are kept, 7 '1' to
-- return the departures, 8 number of removals, then for each removal: login, id; then for each member: login,
-- id, from (the owner that it can be taken from, or ''), record as JSON Returns 'ok' or 'lost'; '1' if
-- something changed, or ''; the number of members; for each of the given members 'had', 'new', 'taken' or
-- 'full', in their order; the values of all members; and if wanted each departure: login, value.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return {'lost'}
end
local owner, ttl, most, now, keep = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local changed, outcomes, departures = '', {}, {}
local at = 9
for _ = 1, tonumber(ARGV[8]) do
  local value = redis.call('HGET', KEYS[1], ARGV[at]) or ''
  local has, id = string.match(value, '^(%S+) (%S+) ')
  if has == owner and id == ARGV[at + 1] then
    redis.call('HDEL', KEYS[1], ARGV[at])
    add_departure(KEYS[3], ARGV[at], value, now, keep)
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
if changed ~= '' or ARGV[7] == '1' then
  departures = trim_departures(KEYS[3], now, keep, ARGV[6])
end
local members = redis.call('HVALS', KEYS[1])
local reply = {'ok', changed, tostring(#members)}
for _, outcome in ipairs(outcomes) do
  reply[#reply + 1] = outcome
end
for _, value in ipairs(members) do
  reply[#reply + 1] = value
end
if ARGV[7] == '1' then
  for _, word in ipairs(departures) do
    reply[#reply + 1] = word
  end
end
return reply
