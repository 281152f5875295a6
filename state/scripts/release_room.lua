-- Takes all members of a dead owner out of a room. May be repeated.
-- KEYS 1 the room's members, 2 the mark that the owner was taken over there; ARGV 1 owner, 2 TTL of the mark in ms
-- Gives 'ok' or 'none', and the owners that have members still, each once for each of them.
-- What the owner has still on its way is refused by the mark when it comes.
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
local status, owners = 'none', {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local has = string.match(all[i + 1], '^(%S+) ')
  if has == ARGV[1] then
    redis.call('HDEL', KEYS[1], all[i])
    status = 'ok'
  elseif has then
    owners[#owners + 1] = has
  end
end
return {status, unpack(owners)}
