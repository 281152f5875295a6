-- Functions for the scripts that remove members from a room. Departures are a hash: login → "<time in ms>
-- <joinedAt>", and '' → time of the latest departure that was dropped to keep the hash short.

-- Records that a login left. joinedAt stays that of its earliest membership as long as the hash has it.
local function add_departure(key, login, value, now, keep)
  local joined = string.match(value, '"joinedAt":"([^"]*)"') or ''
  local at, earlier = string.match(redis.call('HGET', key, login) or '', '^(%d+) (%S*)')
  if at and tonumber(at) > tonumber(now) - tonumber(keep) then
    joined = earlier
  end
  redis.call('HSET', key, login, now .. ' ' .. joined)
end

-- Drops departures that are too old, and the oldest ones of too many. Returns the hash as a list.
local function trim_departures(key, now, keep, most)
  local all, kept = redis.call('HGETALL', key), {}
  for i = 1, #all, 2 do
    local at = tonumber(string.match(all[i + 1], '^%d+'))
    if at <= tonumber(now) - tonumber(keep) then
      redis.call('HDEL', key, all[i])
    elseif all[i] ~= '' then
      kept[#kept + 1] = {at, all[i]}
    end
  end
  table.sort(kept, function(a, b) return a[1] < b[1] end)
  for i = 1, #kept - tonumber(most) do
    redis.call('HDEL', key, kept[i][2])
    redis.call('HSET', key, '', string.format('%.0f', kept[i][1]))
  end
  redis.call('PEXPIRE', key, keep)
  return redis.call('HGETALL', key)
end

