-- A function for the scripts about players. The mark that an owner released a player has the latest generation that
-- is released. Any other value, which a taker leaves, stands for all generations.
local function voided(mark, generation)
  local released = redis.call('GET', mark)
  return released and (tonumber(released) or math.huge) >= tonumber(generation)
end

