"""What is done to the items of a shared store, in Lua: each operation as a whole or not at all.

One text, run by the store (Valkey or Redis, from version 6 on) for each operation. Everything lies
below one prefix, whose braces keep it in one slot of a cluster:

    parts:ID      a list: the value, or a journal's entries (ID: the owner, a zero byte, the key)
    own:OWNER     when each of an owner's keys was last used
    used, ends    of every item: when it was last used, and when its time is over
    bytes, ttls   of every item
    sums, total   bytes of each owner, and of all
    done:BATCH    what the operations of a batch came to, so that one that is sent again because its
                  answer was lost is not done twice
    rate:KEY      a token bucket: the calls left, and when that was

``now`` is the gateway's clock for what lives for minutes and more, and the store's for rates.
"""

DONE_SECS = 120  # for how long an answer can be asked for again; a batch is given up long before
_GRACE_SECS = 60  # after the end of its time, what no gateway has removed the store itself removes
_PURGED = 1000  # items at a time, so that the store is held up for a millisecond or two

TEXT = """
local P = KEYS[1]
local op, batch, nth = ARGV[1], ARGV[2], ARGV[3]
local owner, key, now = ARGV[4], ARGV[5], tonumber(ARGV[6])

local function call(name, what, ...) return redis.call(name, P .. what, ...) end
local function id_of(owner, key) return owner .. '\\0' .. key end
local function parts_of(id) return 'parts:' .. id end

local function drop(owner, key)
  local id = id_of(owner, key)
  local size = tonumber(call('HGET', 'bytes', id) or '0')
  call('DEL', parts_of(id))
  call('HDEL', 'bytes', id)
  call('HDEL', 'ttls', id)
  call('ZREM', 'ends', id)
  call('ZREM', 'used', id)
  call('ZREM', 'own:' .. owner, key)
  call('DECRBY', 'total', size)
  if call('EXISTS', 'own:' .. owner) == 0 then
    call('HDEL', 'sums', owner)
  else
    call('HINCRBY', 'sums', owner, 0 - size)
  end
end

local function drop_id(id)
  local cut = string.find(id, '\\0', 1, true)
  drop(string.sub(id, 1, cut - 1), string.sub(id, cut + 1))
end

local function lives(id)
  local over = call('ZSCORE', 'ends', id)
  return over and tonumber(over) > now
end

local function touch(owner, key)
  local id = id_of(owner, key)
  local ttl = tonumber(call('HGET', 'ttls', id))
  call('ZADD', 'ends', now + ttl, id)
  call('ZADD', 'used', now, id)
  call('ZADD', 'own:' .. owner, now, key)
  call('EXPIRE', parts_of(id), math.ceil(ttl) + GRACE_SECS)
end

local function use(owner, key)
  local id = id_of(owner, key)
  if lives(id) then
    touch(owner, key)
    return true
  end
  if call('HEXISTS', 'ttls', id) == 1 then drop(owner, key) end
  return false
end

local function oldest_but(set, kept)
  for _, one in ipairs(call('ZRANGE', set, 0, 1)) do
    if one ~= kept then return one end
  end
end

local function shrink(all_bytes, kept)
  while tonumber(call('GET', 'total') or '0') > all_bytes do
    local one = oldest_but('used', kept)
    if not one then return end
    drop_id(one)
  end
end

local function make_room(owner, key, owner_bytes, owner_items, all_bytes)
  while tonumber(call('HGET', 'sums', owner)) > owner_bytes
      or call('ZCARD', 'own:' .. owner) > owner_items do
    local one = oldest_but('own:' .. owner, key)
    if not one then break end
    drop(owner, one)
  end
  shrink(all_bytes, id_of(owner, key))
end

local function add(value, ttl, bounds)
  local id = id_of(owner, key)
  if not use(owner, key) then
    call('HSET', 'ttls', id, ttl)
  end
  call('RPUSH', parts_of(id), value)
  call('HINCRBY', 'bytes', id, #value)
  call('HINCRBY', 'sums', owner, #value)
  call('INCRBY', 'total', #value)
  touch(owner, key)
  make_room(owner, key, tonumber(ARGV[bounds]), tonumber(ARGV[bounds + 1]),
    tonumber(ARGV[bounds + 2]))
end

local function get()
  if use(owner, key) then return call('LINDEX', parts_of(id_of(owner, key)), 0) end
  return false
end

local function remove()
  local was = use(owner, key)
  if was then drop(owner, key) end
  return was and 1 or 0
end

-- What reads, and may be done again.

if op == 'get' then return get() end
if op == 'entries' then
  if not use(owner, key) then return {} end
  return call('LRANGE', parts_of(id_of(owner, key)), 0, -1)
end
if op == 'keys' then
  local found = {}
  for _, one in ipairs(call('ZRANGE', 'own:' .. owner, 0, -1)) do
    if string.sub(one, 1, #key) == key and lives(id_of(owner, one)) then
      found[#found + 1] = one
    end
  end
  return found
end
if op == 'purge' then
  for _, id in ipairs(call('ZRANGEBYSCORE', 'ends', '-inf', now, 'LIMIT', 0, PURGED)) do
    drop_id(id)
  end
  shrink(tonumber(ARGV[7]), nil)
  return 0
end

-- What changes something is done once.

local earlier = call('HGET', 'done:' .. batch, nth)
if earlier then return earlier end

local answer = 1
if op == 'append' then
  add(ARGV[7], ARGV[8], 9)
elseif op == 'put' then
  remove()
  add(ARGV[7], ARGV[8], 9)
elseif op == 'remove' then
  answer = remove()
elseif op == 'swap' then
  local value = get()
  if (value and redis.sha1hex(value) or '') == ARGV[12] then
    remove()
    add(ARGV[7], ARGV[8], 9)
  else
    answer = 0
  end
elseif op == 'take' then
  local burst, per_minute = tonumber(ARGV[7]), tonumber(ARGV[8])
  local time = redis.call('TIME')
  local at = tonumber(time[1]) + tonumber(time[2]) / 1000000
  local kept = call('HMGET', 'rate:' .. key, 'calls', 'at')
  local calls = burst
  if kept[1] then
    local gained = math.max(0, at - tonumber(kept[2])) * per_minute / 60
    calls = math.min(burst, tonumber(kept[1]) + gained)
  end
  answer = ''
  if calls < 1 - 1e-9 then
    answer = string.format('%.6f', (1 - calls) * 60 / per_minute)
  else
    call('HSET', 'rate:' .. key, 'calls', string.format('%.9f', calls - 1),
      'at', string.format('%.6f', at))
    call('PEXPIRE', 'rate:' .. key, math.ceil(burst * 60000 / per_minute) + 1000)
  end
else
  return redis.error_reply('unknown operation ' .. op)
end
call('HSET', 'done:' .. batch, nth, answer)
call('EXPIRE', 'done:' .. batch, DONE_SECS)
return tostring(answer)
"""
for _name, _value in (("GRACE_SECS", _GRACE_SECS), ("PURGED", _PURGED), ("DONE_SECS", DONE_SECS)):
    TEXT = TEXT.replace(_name, str(_value))
