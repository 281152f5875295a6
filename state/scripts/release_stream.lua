-- Releases a stream name. Can be repeated.
-- KEYS 1 the record, 2 the mark that the owner released this claim, 3 the owners that have players
-- ARGV 1 owner, 2 claim, 3 TTL of the mark in ms, 0 for none, 4 '1' or '2' to keep the record in the mark, so that a
-- repetition returns it as well: with '1' until the owner releases it itself, with '2' also then
-- Returns 'ok' or 'none', the released record (empty for 'none'), and the owners that have players; or 'lost'.
-- The same claim can arrive later: a claim that was sent and not answered can be overtaken by its release,
-- also if it was sent again and the repetition was answered. The mark makes the scripts reject it, and an
-- adoption as well. A record that is kept with '2' has a space before it.
local r = redis.call('HMGET', KEYS[1], 'owner', 'claim', 'json')
local mark, released = redis.call('GET', KEYS[2]) or '', ''
local kept = string.sub(mark, 1, 1) == ' '
if r[1] == ARGV[1] and r[2] == ARGV[2] then
  redis.call('DEL', KEYS[1])
  released = r[3]
elseif ARGV[4] ~= '' then
  released = mark
end
if ARGV[3] ~= '0' then
  if not kept then
    mark = ARGV[4] ~= '' and released or ''
    if ARGV[4] == '2' and released ~= '' then
      mark = ' ' .. released
    end
  end
  redis.call('SET', KEYS[2], mark, 'PX', ARGV[3])
end
if released ~= '' then
  return {'ok', released, unpack(redis.call('SMEMBERS', KEYS[3]))}
end
if r[1] then
  return {'lost'}
end
return {'none', '', unpack(redis.call('SMEMBERS', KEYS[3]))}
