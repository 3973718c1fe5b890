-- One vote after the other, 64 different ones, all valid in the example contest. `init` runs once the Host is known.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local requests = {}
local at = 0

init = function()
  for i = 1, 64 do
    requests[i] = wrk.format(nil, nil, nil, string.format(
      '{"name": "Banda de prueba %d", "album": "Disco, con comas \\"%d\\"", "year": "%d", "rank": "%d"}',
      i % 16, i % 4, 1960 + i, i % 10 + 1))
  end
end

request = function()
  at = at % 64 + 1
  return requests[at]
end
