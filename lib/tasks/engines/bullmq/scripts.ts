// The Lua scripts for the records of batches. Each script gets the same first keys and the id of the batch.
import type { Redis } from 'ioredis'

/**
 * `meta` says what the batch is, `log` has an entry for each result in the order of settling, `done`, `begun` and `alone`
 * have a bit for each task, `gone` outlives the rest to say that the batch was there, and `open` lists by due time all
 * batches that run.
 */
const PRELUDE = `
local meta, log, done, begun, alone, gone, open = unpack(KEYS, 1, 7)
local id, channel = ARGV[1], ARGV[2]

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function openBatch()
  local found = redis.call('HMGET', meta, 'total', 'succeeded', 'ended')
  if not found[1] or found[3] then return nil end
  return { total = tonumber(found[1]), succeeded = tonumber(found[2]) }
end

-- The first result of a task stays.
local function put(batch, index, succeeded, json)
  if redis.call('SETBIT', done, index, 1) == 1 then return end
  if succeeded then batch.succeeded = batch.succeeded + 1 end
  redis.call('RPUSH', log, index .. ' ' .. batch.succeeded .. ' ' .. json)
end

local function save(batch)
  redis.call('HSET', meta, 'succeeded', batch.succeeded)
  redis.call('PUBLISH', channel .. 'result:' .. id, '')
  if redis.call('LLEN', log) < batch.total then return end
  local ttl, keep = unpack(redis.call('HMGET', meta, 'ttl', 'keep'))
  redis.call('HSET', meta, 'ended', 1)
  redis.call('HDEL', meta, 'ids', 'new')
  redis.call('PEXPIRE', meta, ttl)
  redis.call('PEXPIRE', log, ttl)
  redis.call('DEL', done, begun, alone)
  redis.call('ZREM', open, id)
  if keep == '1' then redis.call('SET', gone, '', 'PX', ttl * 2) end
  redis.call('PUBLISH', channel .. 'end:' .. id, '')
end

-- Fails every pending task for which why(index) gives the rest of a result, what comes after its taskId.
local function failPending(batch, why)
  local ids = cjson.decode(redis.call('HGET', meta, 'ids'))
  for index = 0, batch.total - 1 do
    local rest = redis.call('GETBIT', done, index) == 0 and why(index)
    if rest then put(batch, index, false, '{"taskId":' .. ids[index + 1] .. rest) end
  end
  save(batch)
end

local function accept(lockDuration)
  if redis.call('HDEL', meta, 'new') == 0 then return end
  for _, key in ipairs({ meta, log, done, begun, alone }) do redis.call('PERSIST', key) end
  redis.call('ZADD', open, now() + lockDuration, id)
end
`

/** Each with its arguments after the id and the channel. */
const SCRIPTS = {
  /** [more keys: wait, prioritized] total, createdAt, ttl, keep, ids, owner, how long until it must be accepted, tasks, maxQueued, { index, json }... */
  create: `
local waiting = redis.call('LLEN', KEYS[8]) + redis.call('ZCARD', KEYS[9]) + ARGV[10]
if waiting > tonumber(ARGV[11]) then return waiting end
redis.call('HSET', meta, 'total', ARGV[3], 'createdAt', ARGV[4], 'ttl', ARGV[5], 'keep', ARGV[6], 'ids', ARGV[7],
  'succeeded', 0, 'new', 1)
if ARGV[8] ~= '' then redis.call('HSET', meta, 'owner', ARGV[8]) end
local batch = { total = tonumber(ARGV[3]), succeeded = 0 }
for at = 12, #ARGV, 2 do put(batch, ARGV[at], false, ARGV[at + 1]) end
for _, key in ipairs({ meta, log, done }) do redis.call('PEXPIRE', key, ARGV[9]) end
save(batch)
return 0`,

  /** lockDuration */
  accept: 'accept(ARGV[3]) return redis.call(\'EXISTS\', meta)',

  /** lockDuration, { index, whether it is to run alone }... -> for each: 0 it may run, 1 it may not any more, 2 it ran alone before */
  begin: `
local states = {}
local batch = openBatch()
if batch then accept(ARGV[3]) end
for at = 4, #ARGV, 2 do
  local index = ARGV[at]
  if not batch or redis.call('GETBIT', done, index) == 1 then
    states[#states + 1] = 1
  else
    redis.call('SETBIT', begun, index, 1)
    states[#states + 1] = ARGV[at + 1] == '1' and redis.call('SETBIT', alone, index, 1) == 1 and 2 or 0
  end
end
return states`,

  /** index... -> for each: whether it is still pending */
  areOpen: `
local states = {}
local batch = openBatch()
for at = 3, #ARGV do
  states[#states + 1] = batch and redis.call('GETBIT', done, ARGV[at]) == 0 and 1 or 0
end
return states`,

  /** { index, whether it succeeded, json }... */
  settle: `
local batch = openBatch()
if not batch then return end
for at = 3, #ARGV, 3 do put(batch, ARGV[at], ARGV[at + 1] == '1', ARGV[at + 2]) end
save(batch)`,

  /** index */
  handBack: 'redis.call(\'SETBIT\', alone, ARGV[3], 0)',

  /** the failure of tasks that have not begun, and that of the others */
  cancel: `
local batch = openBatch()
if not batch then return end
failPending(batch, function(index) return redis.call('GETBIT', begun, index) == 1 and ARGV[4] or ARGV[3] end)
redis.call('PUBLISH', channel .. 'cancelled', id)`,

  /** the start of the keys of jobs, and the failure of a task without a job */
  reconcile: `
local batch = openBatch()
if not batch then return redis.call('ZREM', open, id) end
failPending(batch, function(index) return redis.call('EXISTS', ARGV[3] .. index) == 0 and ARGV[4] end)`,

  /** -> whether the batch is only for the request that waits for it */
  isTransient: 'return redis.call(\'HGET\', meta, \'keep\') == \'0\' and 1 or 0',

  /** -> [total, succeeded, settled, createdAt, owner?], or whether it was there */
  find: `
local found = redis.call('HMGET', meta, 'total', 'succeeded', 'createdAt', 'owner')
if not found[1] then return redis.call('EXISTS', gone) end
return { found[1], found[2], redis.call('LLEN', log), found[3], found[4] or nil }`,

  results: `
if redis.call('HEXISTS', meta, 'ended') == 1 then return redis.call('LRANGE', log, 0, -1) end`,

  /** after, limit */
  settled: `
if redis.call('EXISTS', meta) == 1 then return redis.call('LRANGE', log, ARGV[3], ARGV[3] + ARGV[4] - 1) end`,

  remove: `
if redis.call('HEXISTS', meta, 'ended') == 1 then redis.call('DEL', meta, log, gone) end`,

  /** lockDuration -> ids of batches whose lock has expired; they are locked again */
  due: `
local due = {}
for _, one in ipairs(redis.call('ZRANGEBYSCORE', open, '-inf', now(), 'LIMIT', 0, 100)) do
  redis.call('ZADD', open, now() + ARGV[3], one)
  due[#due + 1] = one
end
return due`,

  /** lockDuration, id... -> those that run */
  renew: `
local known = {}
for at = 4, #ARGV do
  if redis.call('ZSCORE', open, ARGV[at]) then
    redis.call('ZADD', open, now() + ARGV[3], ARGV[at])
    known[#known + 1] = ARGV[at]
  end
end
return known`
}

/** The name of a script. */
export type ScriptName = keyof typeof SCRIPTS

/** Runs a script on a batch: further keys and arguments as it says. */
export type RunScript = (name: ScriptName, batchId: string, args?: readonly (string | number)[], keys?: readonly string[]) => Promise<unknown>

type Call = (keys: number, ...args: (string | number)[]) => Promise<unknown>

/** @param prefix of all keys; with a hash tag, as `{tasks}`, where Redis is a cluster */
export function createScripts (redis: Redis, prefix: string): RunScript {
  const name = (script: string) => `multiStatus${script}`
  for (const [script, lua] of Object.entries(SCRIPTS)) redis.defineCommand(name(script), { lua: PRELUDE + lua })
  const calls = redis as unknown as Record<string, Call>

  return (script, batchId, args = [], keys = []) => {
    const of = (part: string) => `${prefix}:batch:${batchId}:${part}`
    const all = [...['meta', 'log', 'done', 'begun', 'alone', 'gone'].map(of), `${prefix}:open`, ...keys]
    return calls[name(script)]!(all.length, ...all, batchId, channelOf(prefix), ...args)
  }
}

/** The start of the names of all channels. */
export function channelOf (prefix: string): string {
  return `${prefix}:hint:`
}
