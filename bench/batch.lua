-- Batches of 5,000 votes, one a line.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-ndjson"
local lines = {}
for i = 1, 5000 do
  lines[i] = string.format(
    '{"name": "Banda de prueba %d", "album": "Disco, con comas \\"%d\\"", "year": "%d", "rank": "%d"}',
    i % 16, i % 4, 1960 + i % 64, i % 10 + 1)
end
wrk.body = table.concat(lines, "\n") .. "\n"
