-- Removes a player from its stream. Can be repeated.
-- KEYS 1 the owners that have players, 2 the owner's players of the stream, 3 the mark that the owner released the
-- player (see voided)
-- ARGV 1 owner, 2 claim, 3 TTL of the mark in ms, 0 for none, 4 generation, or '' for all: then the mark keeps the
-- player, so that a repetition returns it as well
-- Returns 'ok' and the removed player, or 'none'.
-- The player can be added later: a call that was sent and not answered can be overtaken by the removal. The mark
-- makes add_player.lua and adopt_player.lua reject it.
local player = redis.call('HGET', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[2])
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[1], ARGV[1])
end
if ARGV[3] ~= '0' then
  if ARGV[4] == '' then
    local mark = redis.call('GET', KEYS[3]) or ''
    player = player or (not tonumber(mark) and mark ~= '' and mark)
    redis.call('SET', KEYS[3], player or '', 'PX', ARGV[3])
  elseif not voided(KEYS[3], ARGV[4]) then
    redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[3])
  end
end
if not player then
  return {'none'}
end
return {'ok', player}
