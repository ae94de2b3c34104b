// reply.multiStatus: results -> the 207 answer.
import type { FastifyReply } from 'fastify'
import { generic, type AnyContract, type Key } from '../../schemas/index.js'
import { routeContract } from './contract-route.js'
import { logItemFailure } from './item-log.js'
import { notePreference, readPreferences, varyByPrefer } from './preferences.js'
import { assembleResults, minimizeResult, wordResults } from './results.js'
import { serializerOf, type SerializedResults } from './serializer.js'
import { invalidResult, toFailure } from '../errors.js'

/** When the answer is 207: always, or (`collapse`) only when an item failed, and 200 when all succeeded. */
export type StatusPolicy = 'multi-status' | 'collapse'

/** How results are answered. */
export interface MultiStatusOptions {
  /** The words of the results. @default the contract of the route */
  contract?: AnyContract
  /** @default the plugin's `status` option */
  status?: StatusPolicy
  /** The key of each result, in order, for those that do not know it themselves, as a rejected outcome. */
  keys?: readonly (Key | null)[]
}

/** What `reply.multiStatus` takes: results, outcomes of `settle` or `Promise.allSettled`, or an async iterable of either. */
export type Results = readonly unknown[] | AsyncIterable<unknown>

/** Makes the `multiStatus` of an app's replies. */
export function createMultiStatus (defaultStatus: StatusPolicy) {
  return function multiStatus (this: FastifyReply, results: Results, options: MultiStatusOptions = {}): FastifyReply {
    const settled = { ...options, status: options.status ?? defaultStatus }
    if (Array.isArray(results)) return answer(this, results, settled)
    collect(results as AsyncIterable<unknown>).then(all => answer(this, all, settled))
    return this
  }
}

/** Never rejects: a source that breaks has one last, rejected outcome. */
async function collect (results: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = []
  try {
    for await (const result of results) all.push(result)
  } catch (reason) {
    all.push({ status: 'rejected', reason })
  }
  return all
}

function answer (reply: FastifyReply, given: readonly unknown[], options: MultiStatusOptions): FastifyReply {
  const contract = options.contract ?? routeContract(reply.request)
  const batch = reply.request.multiStatusBatch ?? undefined
  const words = contract ?? generic
  const keys = options.keys ?? batch?.places.map(place => batch.keys[place]!) ?? []

  const worded = wordResults(given, words, given.length === keys.length ? keys : [], reply.log)
  const all = batch === undefined ? worded : assembleResults(worded, batch, words, reply.log)
  const results = contract === undefined ? all : honourPreferences(reply, contract, all)

  if (!reply.hasHeader('content-type')) reply.type('application/json; charset=utf-8')
  reply.code(207).serializer((payload: unknown) => serialize(reply, payload, contract, batch?.keys ?? keys, options.status))
  return reply.send({ [words.envelope]: results })
}

function honourPreferences (reply: FastifyReply, contract: AnyContract, results: unknown[]): unknown[] {
  const { minimal } = readPreferences(reply.request)
  varyByPrefer(reply)
  if (!minimal) return results
  notePreference(reply, 'return=minimal')
  return results.map(result => minimizeResult(result, contract))
}

/**
 * Runs last, after the hooks of the app have seen the payload, so that what is counted is what is sent. A payload that
 * a hook has made into something else is the app's own affair.
 */
function serialize (
  reply: FastifyReply, payload: unknown, contract: AnyContract | undefined, keys: readonly (Key | null)[],
  status: StatusPolicy | undefined
): string {
  const envelope = (contract ?? generic).envelope
  const results = (payload as Record<string, unknown> | null)?.[envelope]
  if (!Array.isArray(results)) return JSON.stringify(payload)

  const serialized = serializerOf(contract)(results, envelope, {
    keyAt: index => keys[index] ?? null,
    onInvalid: (index, key, why) => logItemFailure(reply.log, toFailure(invalidResult()), invalidResult(why), index, key)
  })
  reply.header('multi-status', summarize(serialized))
  if (status === 'collapse' && serialized.failed === 0) reply.code(200)
  return serialized.json
}

/** The `Multi-Status` header: an RFC 9651 dictionary. */
function summarize ({ succeeded, failed }: SerializedResults): string {
  return `total=${succeeded + failed}, succeeded=${succeeded}, failed=${failed}`
}
