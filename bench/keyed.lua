-- Votes with a key each, as browsers send them, and no two bodies the same: nothing of them was seen before.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local at = 0
local run = string.format("%08x", os.time())

request = function()
  at = at + 1
  wrk.headers["Idempotency-Key"] = string.format("%s-%016d", run, at)
  return wrk.format(nil, nil, nil, string.format(
    '{"name": "Banda de prueba %d", "album": "Disco, con comas \\"%d\\"", "year": "%d", "rank": "%d", "nth": %d}',
    at % 16, at % 4, 1960 + at % 64, at % 10 + 1, at))
end
