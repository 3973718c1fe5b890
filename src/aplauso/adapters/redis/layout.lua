-- How a partition lies in Redis; put in front of each of the scripts.
--
--   aplauso:{p3}:state       hash: topic, next, epoch (the position), time (the latest stamp), dirty
--   aplauso:{p3}:absent      never there: naming it makes a slot on the move answer TRYAGAIN, on both of its nodes
--   aplauso:{p3}:ids         hash: table of remembered ids -> how many; "k" for those of keys, or a ten-minute slot
--   aplauso:{p3}:i:k:17      string: bucket 17 of table k, its ids of 16 bytes one after the other
--   aplauso:{p3}:contests    set: ids of contests
--   aplauso:{p3}:b:<contest> hash: band -> MessagePack of [band, votes, rank_sum, cast_at, id, name]
--   aplauso:{p3}:a:<contest> hash: band and album -> MessagePack of [band, album, votes, cast_at, id, title]
--
-- Tables grow by linear hashing (Litwin, 1980): the number of buckets follows from the number of ids alone.
--
-- The first layout had more buckets and called `next` `offset`: neither layout finds a position in the other, and a
-- partition of counts without a position is wiped and counted anew.

local call = redis.call
local STATE = KEYS[1]
local PREFIX = string.sub(STATE, 1, -6)
local IDS, CONTESTS = PREFIX .. 'ids', PREFIX .. 'contests'
local LOAD = 100     -- ids a bucket, on average: see docs/adr/0003
local FIRST_LOAD = 40   -- that of the first layout
local CHUNK = 1000   -- arguments of one command: Lua's unpack ends at 8,000

local function buckets_for(ids, load)
  return math.max(1, math.ceil(ids / (load or LOAD)))
end

local function bucket_key(table_name, bucket)
  return PREFIX .. 'i:' .. table_name .. ':' .. bucket
end

-- Runs a command with many arguments in several calls; `width` arguments belong together.
local function in_chunks(command, key, arguments, width)
  local step = CHUNK * (width or 1)
  for first = 1, #arguments, step do
    call(command, key, unpack(arguments, first, math.min(first + step - 1, #arguments)))
  end
end

local function forget(table_name, ids, load)
  local keys = {}
  for bucket = 0, buckets_for(ids, load) - 1 do
    keys[bucket + 1] = bucket_key(table_name, bucket)
  end
  for first = 1, #keys, CHUNK do
    call('UNLINK', unpack(keys, first, math.min(first + CHUNK - 1, #keys)))
  end
  call('HDEL', IDS, table_name)
end
