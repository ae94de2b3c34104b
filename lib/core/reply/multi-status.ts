// reply.multiStatus: results -> the 207 answer.
import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { generic, type AnyContract, type Key } from '../../../schemas/index.js'
import { makeBody, plainFrame, textAround, type Frame } from './chunked-body.js'
import { configOf } from '../request/received.js'
import { failureLoggerOf, recordFailure } from '../results/failure-log.js'
import { keysOfValid } from '../items/batch.js'
import { reorderedPlaces } from '../items/reordered.js'
import { setPreferenceAppliedHeader, readPreferences, setVaryHeader } from '../request/preferences.js'
import { reportAnswer } from '../results/report.js'
import { areMany, assembleResults, followItems, formatInSlices, formatResults } from '../results/assemble.js'
import { serializerOf, type Serialization } from '../results/serializer.js'
import { show } from '../settle/options.js'
import { InvalidOption, invalidResult, toFailure } from '../../errors.js'

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

/**
 * Makes the `multiStatus` of an app's replies.
 * @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, when the results are no results and nobody knows the items
 */
export function createMultiStatus (defaultStatus: StatusPolicy) {
  return function multiStatus (this: FastifyReply, results: Results, options: MultiStatusOptions = {}): FastifyReply {
    const settled = { ...options, status: options.status ?? defaultStatus }
    // As many as can be worded at once are.
    if (Array.isArray(results) && !areMany(results)) return answer(this, results, settled) as FastifyReply
    if (this.request.multiStatusBatch === null && !isIterable(results)) {
      throw new InvalidOption('results', 'an array or an async iterable', show(results))
    }
    const gathered = Array.isArray(results) ? Promise.resolve({ given: results, isBroken: false }) : collect(results as AsyncIterable<unknown>)
    gathered
      .then(({ given, isBroken }) => answer(this, given, settled, isBroken))
      .catch(error => this.send(error))
    return this
  }
}

function isIterable (results: unknown): boolean {
  return results !== null && typeof results === 'object' && (Symbol.asyncIterator in results || Symbol.iterator in results)
}

/** Never rejects: a source that breaks has one last, rejected outcome. */
async function collect (results: AsyncIterable<unknown>): Promise<{ given: unknown[], isBroken: boolean }> {
  const given: unknown[] = []
  try {
    for await (const result of results) given.push(result)
  } catch (reason) {
    given.push({ status: 'rejected', reason })
    return { given, isBroken: true }
  }
  return { given, isBroken: false }
}

/** @param isBroken whether the results are only the first ones, the last of them saying why there are no more */
function answer (
  reply: FastifyReply, given: readonly unknown[], options: MultiStatusOptions, isBroken = false
): FastifyReply | Promise<FastifyReply> {
  const contract = options.contract ?? configOf(reply.request).multiStatus
  const batch = reply.request.multiStatusBatch ?? undefined
  const terms: Terms = { contract, keys: batch?.keys ?? options.keys ?? [], status: options.status }
  if (batch !== undefined && given === batch.results) return sendResults(reply, given, terms)

  const words = contract ?? generic
  const placesNow = batch && reorderedPlaces(batch, reply.request.body)
  // Whoever takes items away when the work is done has results for all of them.
  const moved = isBroken || placesNow?.length === given.length ? placesNow : undefined
  const keys = options.keys ?? moved?.map(place => batch!.keys[place]!) ?? (batch === undefined ? [] : keysOfValid(batch))
  const inOrder = (isBroken || given.length === keys.length) && followItems(given, keys, words.key)
  const items = { keys: inOrder ? keys : [], places: moved ?? batch?.places }
  const logger = failureLoggerOf(reply)
  const assemble = (worded: unknown[]) => batch === undefined ? worded : assembleResults(worded, batch, words, inOrder, logger, moved)
  if (!areMany(given)) return sendResults(reply, assemble(formatResults(given, words, items, logger)), terms)
  return formatInSlices(given, words, items, logger).then(worded => sendResults(reply, assemble(worded), terms))
}

function sendResults (reply: FastifyReply, results: readonly unknown[], { contract, keys, status }: Terms): FastifyReply {
  const plan: Plan = { results, contract, keys, status, minimal: honourPreferences(reply, contract) }
  if (!reply.hasHeader('content-type')) reply.type('application/json; charset=utf-8')
  // A large body is a stream, of which Fastify's types know nothing here.
  reply.code(207).serializer((payload: unknown) => serialize(reply, payload, plan) as string)
  return reply.send({ [envelopeOf(contract)]: results })
}

function envelopeOf (contract: AnyContract | undefined): string {
  return (contract ?? generic).envelope
}

/** Whether the client prefers, and can have, successes with only key and status. */
function honourPreferences (reply: FastifyReply, contract: AnyContract | undefined): boolean {
  if (contract === undefined) return false
  const { minimal } = readPreferences(reply.request)
  setVaryHeader(reply)
  if (minimal) setPreferenceAppliedHeader(reply, 'return=minimal')
  return minimal
}

/** How results are answered, whatever they are. */
interface Terms {
  readonly contract: AnyContract | undefined
  readonly keys: readonly (Key | null)[]
  readonly status: StatusPolicy | undefined
}

/** What is answered, and how. */
interface Plan extends Terms {
  readonly results: readonly unknown[]
  readonly minimal: boolean
}

/**
 * Runs last, after the hooks of the app have seen the payload, so that what is counted is what is sent. What a hook has
 * put beside or around the results stays; a payload without the results is the app's own affair.
 */
function serialize (reply: FastifyReply, payload: unknown, plan: Plan): string | Readable {
  const envelope = envelopeOf(plan.contract)
  const own = (payload as Record<string, unknown> | null | undefined)?.[envelope]
  const results = Array.isArray(own) ? own : plan.results
  if (results === own && Object.keys(payload as object).length === 1) return makeResults(reply, results, plainFrame(envelope), plan)
  const [head, tail] = textAround(payload, results)
  return tail === undefined ? head : makeResults(reply, results, { head, tail }, plan)
}

function makeResults (
  reply: FastifyReply, results: readonly unknown[], frame: Frame, { contract, keys, status, minimal }: Plan
): string | Readable {
  const logger = failureLoggerOf(reply)
  let refused: Set<number> | undefined
  const serialization = serializerOf(contract, reply.server)(results, {
    minimal,
    keys,
    onInvalid (index, key, why) {
      refused ??= new Set()
      refused.add(index)
      recordFailure(logger, toFailure(invalidResult()), invalidResult(why), index, key)
    }
  })
  return makeBody(reply, serialization, frame, () => {
    reply.header('multi-status', summarize(serialization))
    const failed = serialization.failed()
    reportAnswer(reply, { total: results.length, failed, results: () => results, contract, keys, refused })
    if (status === 'collapse' && failed === 0) reply.code(200)
  })
}

/** The `Multi-Status` header: an RFC 9651 dictionary. */
function summarize (serialization: Serialization): string {
  const { total } = serialization
  const failed = serialization.failed()
  return `total=${total}, succeeded=${total - failed}, failed=${failed}`
}
