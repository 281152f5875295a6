-- KEYS 1 the pull, 2 its holders. Returns the status.
return status(KEYS[1], KEYS[2], now())
