/**
 * The rules of the store as Lua, which Redis runs atomically. `memory-store-state.ts` holds the same rules in
 * TypeScript.
 *
 * The cluster clock advances with Redis' clock while Redis is used, but never by more than `gapMs` between two uses:
 * time in which nobody could renew does not count, and a step of the system clock or a replica with another clock does
 * no harm. After such a gap, and after a restart or failover (another run id), leases that lived before it live on for
 * one whole lease period.
 *
 * After a restart or failover the last writes may be lost. Epochs then continue far above (65,536 grants are more than
 * Redis makes between two syncs), and never below the config epoch of Sentinel, which grows with each failover.
 */
import { createHash } from 'node:crypto';

export type RedisScript = { name: string; source: string; sha: string };

const prelude = `
local clockKey = KEYS[1]
local runId, configEpoch = ARGV[1], tonumber(ARGV[2])
local leaseMs, keepMs, gapMs, settleMs = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local garbageMs = tonumber(ARGV[7])
local args = {unpack(ARGV, 8)}
local function int(value) return string.format('%.0f', value) end

local at = redis.call('TIME')
local server = at[1] * 1000 + math.floor(at[2] / 1000)
local clock = redis.call('HMGET', clockKey, 'run', 'server', 'now', 'grace', 'from', 'settled', 'epoch')
local now, grace, from, settled, epoch
if clock[1] then
  local before = tonumber(clock[3])
  local step = math.max(0, server - tonumber(clock[2]))
  now, grace, from = before + math.min(step, gapMs), tonumber(clock[4]), tonumber(clock[5])
  settled, epoch = tonumber(clock[6]), tonumber(clock[7])
  if clock[1] ~= runId or step > gapMs then
    if before >= grace then from = before end
    grace = now + leaseMs
  end
  if clock[1] ~= runId then
    settled = now + settleMs
    epoch = epoch + 65536
  end
else
  now, from, epoch = server, 0, 0
  grace, settled = now + leaseMs, now + settleMs
end
local function saveClock()
  redis.call('HSET', clockKey, 'run', runId, 'server', int(server), 'now', int(now), 'grace', int(grace),
    'from', int(from), 'settled', int(settled), 'epoch', int(epoch))
end
local function isLive(expires) return expires > now or (now < grace and expires > from) end
local function isGone(expires) return expires + keepMs <= now and not isLive(expires) end
local function nextEpoch()
  epoch = math.max(epoch, configEpoch * 4294967296) + 1
  return epoch
end
local function seenEpoch(stated) epoch = math.max(epoch, stated) end

-- Rooms and named leases alike: an owner, an epoch, an expiry. An empty owner marks a released one, so that nobody who
-- slept through its end can state it again.
local function holding(key)
  local fields = redis.call('HMGET', key, 'owner', 'epoch', 'expires')
  if not fields[2] then return nil end
  local found = {owner = fields[1], epoch = tonumber(fields[2]), expires = tonumber(fields[3])}
  if isGone(found.expires) then return nil end
  found.live = found.owner ~= '' and isLive(found.expires)
  return found
end
local function hold(key, owner, holdEpoch)
  redis.call('HSET', key, 'owner', owner, 'epoch', int(holdEpoch), 'expires', int(now + leaseMs))
  redis.call('PEXPIRE', key, garbageMs)
end
local function bury(key, holdEpoch)
  redis.call('DEL', key)
  redis.call('HSET', key, 'owner', '', 'epoch', int(holdEpoch), 'expires', int(now))
  redis.call('PEXPIRE', key, garbageMs)
end
`;

const roomFunctions = `
local roomsKey, nodeRoomsPrefix = KEYS[2], args[1]
local function holdRoom(name, key, partsKey, owner, holdEpoch)
  local old = redis.call('HGET', key, 'owner')
  if old and old ~= '' and old ~= owner then redis.call('SREM', nodeRoomsPrefix .. old, name) end
  hold(key, owner, holdEpoch)
  redis.call('PEXPIRE', partsKey, garbageMs)
  redis.call('HSET', key, 'kept', int(now))
  redis.call('SADD', roomsKey, name)
  redis.call('SADD', nodeRoomsPrefix .. owner, name)
  redis.call('PEXPIRE', nodeRoomsPrefix .. owner, garbageMs)
end
-- Most of what Redis does for a large cluster is this, twice a second for each room.
local function extendRoom(key, partsKey)
  redis.call('HSET', key, 'expires', int(now + leaseMs))
  if tonumber(redis.call('HGET', key, 'kept') or 0) + garbageMs / 4 < now then
    redis.call('HSET', key, 'kept', int(now))
    redis.call('PEXPIRE', key, garbageMs)
    redis.call('PEXPIRE', partsKey, garbageMs)
  end
end
`;

const roomWrite = `
local found, given = holding(KEYS[2]), tonumber(args[1])
if not found or found.epoch < given then return 'unknown' end
if found.epoch > given or found.owner == '' then return 'superseded' end
`;

const nodeStateFunctions = `
local function nodeState(key)
  local fields = redis.call('HMGET', key, 'epoch', 'record', 'deadline')
  if not fields[1] then return false end
  local remaining = false
  if fields[3] then remaining = tonumber(fields[3]) - now end
  return {tonumber(fields[1]), fields[2], remaining}
end
`;

export const redisScripts = {
  touch: script('touch', 'saveClock() return 1'),

  beat: script(
    'beat',
    `${nodeStateFunctions}
    local id, stable, load, channel, stateLifeMs = args[1], args[2], args[3], args[4], args[5]
    local before = redis.call('HMGET', KEYS[3], 'stable', 'expires')
    saveClock()
    redis.call('HSET', KEYS[3], 'stable', stable, 'load', load, 'expires', int(now + leaseMs))
    redis.call('PEXPIRE', KEYS[3], garbageMs)
    redis.call('SADD', KEYS[2], id)
    redis.call('PEXPIRE', KEYS[4], stateLifeMs)
    if before[1] ~= stable or not isLive(tonumber(before[2])) then redis.call('PUBLISH', channel, id) end
    return nodeState(KEYS[4])`,
  ),
  leave: script(
    'leave',
    `saveClock()
    redis.call('SREM', KEYS[2], args[1])
    if redis.call('DEL', KEYS[3]) == 1 then redis.call('PUBLISH', args[2], args[1]) end
    return 1`,
  ),
  listNodes: script(
    'listNodes',
    `local result = {}
    for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
      local fields = redis.call('HMGET', args[1] .. id, 'stable', 'load', 'expires')
      local expires = tonumber(fields[3] or 0)
      if not fields[1] or isGone(expires) then
        redis.pcall('SREM', KEYS[2], id)
      else
        table.insert(result, {fields[1], fields[2], now + leaseMs - expires, isLive(expires) and 1 or 0})
      end
    end
    return result`,
  ),

  getNodeState: script('getNodeState', `${nodeStateFunctions} return nodeState(KEYS[2])`),
  listNodeStates: script(
    'listNodeStates',
    `${nodeStateFunctions}
    local result = {}
    for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
      local found = nodeState(args[1] .. id)
      if found then table.insert(result, found) else redis.pcall('SREM', KEYS[2], id) end
    end
    return result`,
  ),
  changeNodeState: script(
    'changeNodeState',
    `${nodeStateFunctions}
    local id, expected, record, deadline = args[1], tonumber(args[2]), args[3], args[4]
    local current = nodeState(KEYS[3])
    if (current and current[1] or 0) ~= expected then
      saveClock()
      return {0, current}
    end
    -- A node that restates its record after the store lost it must not get an epoch that was there before.
    redis.call('HSET', KEYS[3], 'epoch', int(nextEpoch()), 'record', record)
    saveClock()
    if deadline == 'none' then redis.call('HDEL', KEYS[3], 'deadline') end
    if deadline ~= 'none' and deadline ~= 'keep' then
      redis.call('HSET', KEYS[3], 'deadline', int(now + tonumber(deadline)))
    end
    redis.call('PEXPIRE', KEYS[3], args[5])
    redis.call('SADD', KEYS[2], id)
    redis.call('PUBLISH', args[6], id)
    return {1, nodeState(KEYS[3])}`,
  ),
  removeNodeState: script(
    'removeNodeState',
    `${nodeStateFunctions}
    local current = nodeState(KEYS[3])
    saveClock()
    if current and current[1] ~= tonumber(args[2]) then return 0 end
    redis.call('DEL', KEYS[3])
    redis.call('SREM', KEYS[2], args[1])
    redis.call('PUBLISH', args[3], args[1])
    return 1`,
  ),

  find: script(
    'find',
    `local found = holding(KEYS[2])
    if not found or found.owner == '' then return false end
    return {found.owner, found.epoch, found.live and 1 or 0}`,
  ),
  claim: script(
    'claim',
    `${roomFunctions}
    local name, nodeId = args[2], args[3]
    local found = holding(KEYS[3])
    if found and found.owner ~= '' then
      saveClock()
      return {found.live and 'owned' or 'orphaned', found.owner, found.epoch, 0}
    end
    if not found and now < settled then
      saveClock()
      return {'settling', '', settled - now, 0}
    end
    redis.call('DEL', KEYS[3], KEYS[4])
    holdRoom(name, KEYS[3], KEYS[4], nodeId, nextEpoch())
    saveClock()
    return {'owned', nodeId, epoch, 1}`,
  ),
  renewRooms: script(
    'renewRooms',
    `${roomFunctions}
    local nodeId, lost, restated = args[2], {}, {}
    for index = 1, (#args - 2) / 2 do
      local name, stated = args[2 * index + 1], tonumber(args[2 * index + 2])
      local key, partsKey = KEYS[2 * index + 1], KEYS[2 * index + 2]
      local found = holding(key)
      if found and (found.epoch > stated or (found.epoch == stated and found.owner ~= nodeId)) then
        table.insert(lost, {name, found.owner, found.epoch})
      elseif found and found.epoch == stated then
        extendRoom(key, partsKey)
      else
        if not found then redis.call('DEL', key, partsKey) end
        if not found or found.epoch < stated then table.insert(restated, name) end
        seenEpoch(stated)
        holdRoom(name, key, partsKey, nodeId, stated)
      end
    end
    redis.call('PEXPIRE', nodeRoomsPrefix .. nodeId, garbageMs)
    saveClock()
    return {lost, restated}`,
  ),
  takeOver: script(
    'takeOver',
    `${roomFunctions}
    local name, expected, nodeId, isGiven = args[2], tonumber(args[3]), args[4], args[5] == '1'
    local found = holding(KEYS[3])
    if not found or found.owner == '' then
      saveClock()
      return {'missing', '', 0}
    end
    if found.epoch ~= expected or (found.live and not isGiven) then
      saveClock()
      return {'refused', found.owner, found.epoch}
    end
    holdRoom(name, KEYS[3], KEYS[4], nodeId, nextEpoch())
    saveClock()
    return {'taken', nodeId, epoch}`,
  ),
  releaseRoom: script(
    'releaseRoom',
    `${roomFunctions}
    local name, given = args[2], tonumber(args[3])
    local found = holding(KEYS[3])
    saveClock()
    if found and found.epoch > given then return 0 end
    if found and found.owner ~= '' then redis.call('SREM', nodeRoomsPrefix .. found.owner, name) end
    redis.call('SREM', roomsKey, name)
    redis.call('DEL', KEYS[4])
    bury(KEYS[3], given)
    return 1`,
  ),
  saveParts: script(
    'saveParts',
    `${roomWrite}
    saveClock()
    for index = 1, (#args - 1) / 3 do
      local part, kept, value = args[3 * index - 1], args[3 * index], args[3 * index + 1]
      if kept == '1' then redis.call('HSET', KEYS[3], part, value) else redis.call('HDEL', KEYS[3], part) end
    end
    redis.call('PEXPIRE', KEYS[3], garbageMs)
    return 'written'`,
  ),
  load: script(
    'load',
    `local found = holding(KEYS[2])
    if not found or found.owner == '' then return false end
    return {found.epoch, redis.call('HGETALL', KEYS[3])}`,
  ),
  publish: script(
    'publish',
    `${roomWrite}
    saveClock()
    redis.call('HSET', KEYS[2], 'listing', args[2])
    return 'written'`,
  ),
  roomNames: script('roomNames', `return redis.call('SMEMBERS', KEYS[2])`),
  listRooms: script(
    'listRooms',
    `local result = {}
    for index = 3, #KEYS do
      local found = holding(KEYS[index])
      if found and found.owner ~= '' then
        local listing = redis.call('HGET', KEYS[index], 'listing')
        if listing then table.insert(result, listing) end
      elseif not found then
        redis.pcall('SREM', KEYS[2], args[index - 2])
      end
    end
    return result`,
  ),
  roomsOfNode: script(
    'roomsOfNode',
    `local result = {}
    for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
      local found = holding(args[2] .. name)
      if found and found.owner == args[1] then
        table.insert(result, {name, found.epoch, found.live and 1 or 0})
      end
    end
    return result`,
  ),

  acquire: script(
    'acquire',
    `local holder, found = args[1], holding(KEYS[2])
    if found and found.live then
      if found.owner == holder then hold(KEYS[2], holder, found.epoch) end
      saveClock()
      return {found.owner == holder and 'held' or 'taken', found.owner, found.epoch}
    end
    if not found and now < settled then
      saveClock()
      return {'settling', '', settled - now}
    end
    hold(KEYS[2], holder, nextEpoch())
    saveClock()
    return {'held', holder, epoch}`,
  ),
  renewLease: script(
    'renewLease',
    `local holder, stated, found = args[1], tonumber(args[2]), holding(KEYS[2])
    if found and (found.epoch > stated or (found.epoch == stated and found.owner ~= holder)) then
      saveClock()
      return 0
    end
    seenEpoch(stated)
    hold(KEYS[2], holder, stated)
    saveClock()
    return 1`,
  ),
  releaseLease: script(
    'releaseLease',
    `local holder, given, found = args[1], tonumber(args[2]), holding(KEYS[2])
    saveClock()
    if not found or (found.owner == holder and found.epoch <= given) then bury(KEYS[2], given) end
    return 1`,
  ),

  getRecord: script(
    'getRecord',
    `local fields = redis.call('HMGET', KEYS[2], 'epoch', 'value')
    if not fields[1] then return false end
    return {tonumber(fields[1]), fields[2]}`,
  ),
  setRecord: script(
    'setRecord',
    `local name, given, value, lifeMs, channel = args[1], tonumber(args[2]), args[3], tonumber(args[4]), args[5]
    seenEpoch(given)
    saveClock()
    if tonumber(redis.call('HGET', KEYS[2], 'epoch') or 0) > given then return 0 end
    redis.call('HSET', KEYS[2], 'epoch', int(given), 'value', value)
    if lifeMs > 0 then redis.call('PEXPIRE', KEYS[2], lifeMs) else redis.call('PERSIST', KEYS[2]) end
    redis.call('PUBLISH', channel, name)
    return 1`,
  ),
  removeRecord: script(
    'removeRecord',
    `local name, given, channel = args[1], tonumber(args[2]), args[3]
    saveClock()
    if tonumber(redis.call('HGET', KEYS[2], 'epoch') or 0) > given then return 0 end
    if redis.call('DEL', KEYS[2]) == 1 then redis.call('PUBLISH', channel, name) end
    return 1`,
  ),
};

function script(name: string, body: string): RedisScript {
  const source = `${prelude}${body}`;
  return { name, source, sha: createHash('sha1').update(source).digest('hex') };
}
