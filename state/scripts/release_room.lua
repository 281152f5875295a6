-- Removes all members of a dead owner from a room. Can be repeated.
-- KEYS 1 the room's members, 2 the mark that the owner was taken over there, 3 departures
-- ARGV 1 owner, 2 TTL of the mark in ms, 3 time in ms, 4 how long departures are kept in ms, 5 how many
-- departures are kept
-- Returns 'ok' or 'none', and the owner of each remaining member. The mark makes sync_room refuse calls of the
-- dead owner that arrive later. Its value is the status that a repetition returns.
local status, owners = redis.call('GET', KEYS[2]) or 'none', {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local has = string.match(all[i + 1], '^(%S+) ')
  if has == ARGV[1] then
    redis.call('HDEL', KEYS[1], all[i])
    add_departure(KEYS[3], all[i], all[i + 1], ARGV[3], ARGV[4])
    status = 'ok'
  elseif has then
    owners[#owners + 1] = has
  end
end
if status == 'ok' then
  trim_departures(KEYS[3], ARGV[3], ARGV[4], ARGV[5])
end
redis.call('SET', KEYS[2], status, 'PX', ARGV[2])
return {status, unpack(owners)}
