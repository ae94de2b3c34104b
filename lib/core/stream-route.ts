// The streaming operation of a bulk route: reads NDJSON, and writes one line for each item when it is settled.
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { AnyContract, FailureDetail } from '../../schemas/index.js'
import { RequestItemContext, type ItemContext, type Outcome } from './settle/attempt.js'
import { failureLoggerOf, recordFailure } from './results/failure-log.js'
import { chargeLine } from './request/rate-limit.js'
import { compileKeyRules } from './items/keys.js'
import { createCompiler, createExampleCompiler } from './items/validator.js'
import { settleSource } from './settle/pool.js'
import { setPreferenceAppliedHeader, readPreferences, setVaryHeader } from './request/preferences.js'
import { batchOf, beginReport, endReport, reportItem, wantsItem } from './results/report.js'
import { formatOutcome } from './results/assemble.js'
import { serializeAlone, serializerOf, type SerializeContext } from './results/serializer.js'
import { checkInteger } from './options.js'
import type { SettleOptions } from './settle/options.js'
import { documentStream } from './openapi/operations.js'
import { readLines, type LineItem, type LineRules, type StreamLimits, type StreamSource } from './items/ndjson.js'
import { createOutput, type LineOutput } from './reply/ndjson.js'
import { InvalidOption, invalidResult, toFailure } from '../errors.js'

/** The media types of newline-delimited JSON. */
export const LINE_TYPES = ['application/x-ndjson', 'application/jsonl']

/** What a stream may have. */
export interface StreamOptions {
  /** How many items run; each one more fails alone. @default no limit */
  maxItems?: number
  /** How many bytes a line may have; one that is longer fails alone. @default 1048576 */
  maxLineBytes?: number
}

const DEFAULT_LINE_BYTES = 1024 * 1024

/** What is done with each item of a stream. */
export interface StreamWork {
  readonly contract: AnyContract
  /** The schema of one item. */
  readonly item: object
  readonly how: SettleOptions
  /** Does the work of one item. */
  perform (item: unknown, context: ItemContext): unknown
}

/** What a streaming operation is made of. */
export interface StreamSettings extends StreamWork {
  readonly limits: StreamLimits
}

/**
 * Makes the streaming operation of a bulk route, at `<url>/stream`.
 * @throws FST_MULTI_STATUS_INVALID_OPTION
 */
export function streamRoute (
  route: Omit<RouteOptions, 'handler'>, work: StreamWork, { maxItems = Infinity, maxLineBytes = DEFAULT_LINE_BYTES }: StreamOptions
): RouteOptions {
  checkLineMembers(work.contract)
  if (maxItems !== Infinity) checkInteger('stream.maxItems', maxItems, 1)
  checkInteger('stream.maxLineBytes', maxLineBytes, 1)
  const settings: StreamSettings = { ...work, limits: { maxItems, maxLineBytes } }
  return {
    ...route,
    url: `${route.url.replace(/\/$/, '')}/stream`,
    config: { ...route.config, multiStatusStream: settings },
    handler: (request, reply) => handleStream(request, reply, settings)
  }
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION when results have a member that says in a line which item it is about */
function checkLineMembers ({ schemas: { successes, failure } }: AnyContract): void {
  if (![...successes, failure].some(({ properties }) => Object.hasOwn(properties, 'index'))) return
  throw new InvalidOption('stream', 'false, or a contract without a member "index", which is the place of the item in every line', 'a contract with one')
}

/** Registers the streaming operation in a context of its own, so that its parser stays there. */
export function addStreamRoute (app: FastifyInstance, route: RouteOptions): void {
  app.register(async child => {
    child.removeAllContentTypeParsers()
    child.addContentTypeParser(LINE_TYPES, (_request, payload, done) => done(null, payload))
    child.route(route)
  })
}

/** Makes a route with `config: { multiStatusStream }` answer a stream with a stream. */
export function prepareStreamRoute (app: FastifyInstance, route: RouteOptions, settings: StreamSettings, maxInFlight: number): void {
  const given = route.schema ?? {}
  const { body: _, response: __, ...schema } = given
  route.schema = schema
  app.addHook('onReady', async () => {
    const { contract, item, limits: { maxLineBytes } } = settings
    const compile = createCompiler(app)
    route.schema = documentStream(given, contract, { item, maxLineBytes, maxInFlight, compile: createExampleCompiler(app) })
    const ofApp = rules.get(app) ?? new WeakMap<StreamSettings, LineRules>()
    rules.set(app, ofApp.set(settings, {
      ...compileKeyRules(settings.contract, compile),
      validateItem: compile(settings.item),
      parse: createParser(app)
    }))
    serializerOf(settings.contract, app)
  })
}

/** Compiled when the app is ready, for every context that has the route, as each may have shared schemas of its own. */
const rules = new WeakMap<FastifyInstance, WeakMap<StreamSettings, LineRules>>()

/** Takes and refuses in a line what the app takes and refuses in a body of JSON, as members called `__proto__`. */
function createParser (app: FastifyInstance): (line: string) => unknown {
  const { onProtoPoisoning, onConstructorPoisoning } = app.initialConfig
  const parse = app.getDefaultJsonParser(onProtoPoisoning!, onConstructorPoisoning!) as unknown as ParseJson
  return line => {
    let parsed: unknown
    parse(undefined, line, (error, value) => {
      if (error !== null) throw error
      parsed = value
    })
    return parsed
  }
}

type ParseJson = (request: undefined, text: string, done: (error: Error | null, value?: unknown) => void) => void

/** Answers while the items are still coming in. */
function handleStream (request: FastifyRequest, reply: FastifyReply, settings: StreamSettings): FastifyReply {
  const { minimal } = readPreferences(request)
  setVaryHeader(reply)
  if (minimal) setPreferenceAppliedHeader(reply, 'return=minimal')

  // Without a body, no parser has been asked.
  const source = readLines(request.body as Readable | undefined ?? Readable.from([]), rules.get(request.server)!.get(settings)!, settings.limits, err => {
    request.log.info({ err }, 'the stream was not read to its end')
  })
  const output = createOutput()
  answer(request, reply, settings, source, output, minimal).catch(error => output.stream.destroy(error))
  return reply.code(207).type('application/x-ndjson').send(output.stream)
}

/** Works through the source; without a summary at its end, an answer has been cut. */
async function answer (
  request: FastifyRequest, reply: FastifyReply, settings: StreamSettings, source: StreamSource, output: LineOutput, minimal: boolean
): Promise<void> {
  const signal = reply.batchSignal()
  signal.addEventListener('abort', () => closeSoon(request, reply, output), { once: true })
  const writeLine = createLineWriter(reply, settings.contract, minimal)
  const report = beginReport(batchOf(reply))
  let [total, failed] = [0, 0]

  const charge = chargeLine(request)
  const work = (line: LineItem, context: ItemContext) => settings.perform(line.item, context)
  const worker = charge === undefined ? work : (line: LineItem, context: ItemContext) => charge().then(() => work(line, context))

  await settleSource<LineItem, unknown, ItemContext>({
    source,
    worker: (line, context) => line.failure ?? worker(line, context),
    newContext: ({ key }, index, attempt, controller) => new RequestItemContext(index, attempt, controller, key, request),
    options: { ...settings.how, timeout: timeoutOf(settings.how), signal },
    deliver (outcome, index, line) {
      const written = writeLine(outcome, index, line)
      total++
      if (written.failed) failed++
      if (wantsItem(report, written.failed)) reportItem(report, { index, key: line?.key ?? null, ...written })
      return output.write(written.text)
    }
  })
  const isCut = !source.isComplete() || signal.aborted
  endReport(report, { total, failed, isCut })
  if (!isCut) {
    output.write(JSON.stringify({ summary: { total, succeeded: total - failed, failed } }) + '\n')
  }
  output.end()
}

/** A line that has failed already takes no time. */
function timeoutOf ({ timeout }: SettleOptions): SettleOptions<LineItem>['timeout'] {
  return typeof timeout === 'function' ? ({ item, failure }) => failure === undefined ? timeout(item) : undefined : timeout
}

/** Milliseconds that a client has to read the end of an answer that was cut. */
const FLUSH_TIMEOUT = 1_000

/**
 * A client that goes on sending, or reads no more, does not keep the connection of an answer that was cut. Either message
 * can be the one that is still open, and only that one can end the connection.
 */
function closeSoon ({ raw: request }: FastifyRequest, { raw: response }: FastifyReply, output: LineOutput): void {
  output.release()
  if (response.destroyed) return
  const messages = [request, response]
  const timer = setTimeout(() => { for (const message of messages) message.destroy() }, FLUSH_TIMEOUT)
  for (const message of messages) {
    message.once('close', () => { if (messages.every(({ destroyed }) => destroyed)) clearTimeout(timer) })
  }
}

type WriteLine = (outcome: Outcome<unknown>, index: number, line: LineItem | undefined) => { text: string, failed: boolean, code: string | undefined }

function createLineWriter (reply: FastifyReply, contract: AnyContract, minimal: boolean): WriteLine {
  const serialize = serializerOf(contract, reply.server)
  const logger = failureLoggerOf(reply)
  return (outcome, index, line) => {
    const key = line?.key ?? null
    const failure = line?.failure as FailureDetail | undefined
    const result = failure === undefined ? formatOutcome(outcome, contract, key, index, logger) : contract.fail(key, failure)
    let isRefused = false
    const context: SerializeContext = {
      minimal,
      onInvalid (_, found, why) {
        isRefused = true
        recordFailure(logger, toFailure(invalidResult()), invalidResult(why), index, found)
      }
    }
    const { text, failed } = serializeAlone(serialize, result, context)
    const code = isRefused ? 'INVALID_RESULT' : failed ? (result as FailureDetail).code : undefined
    return { text: `{"index":${index},${text.slice(1)}\n`, failed, code }
  }
}
