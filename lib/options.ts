// The options of the plugin, and their checks.
import type { DocsOptions } from './docs.js'
import { checkInteger, show } from './core/settle-options.js'
import type { StatusPolicy } from './core/reply.js'
import { InvalidOption } from './errors.js'
import { checkTasksOptions, type TasksOptions } from './tasks/options.js'
import { readUploadOptions, type UploadOptions, type UploadSettings } from './upload/options.js'

/** What the plugin does in an app. */
export interface FastifyMultiStatusOptions {
  /** `POST /upload`; false for none. */
  upload?: UploadOptions | false
  /** `POST /tasks`; false for none. */
  tasks?: TasksOptions | false
  /** OpenAPI and Swagger UI, unless the app has a swagger of its own; false for none. */
  docs?: DocsOptions | false
  /** Whether an answer without a failure is 207 as every other, or (`collapse`) 200. @default 'multi-status' */
  status?: StatusPolicy
  /** Milliseconds that batches in progress have to end by themselves when the app closes. @default 10000 */
  closeGrace?: number
  /** Before the paths of the plugin's own routes; Fastify's own option. @default none */
  prefix?: string
}

/** The options with every default in place. */
export interface Settings {
  readonly upload: UploadSettings | false
  readonly tasks: TasksOptions | false
  readonly docs: DocsOptions | false
  readonly status: StatusPolicy
  readonly closeGrace: number
  readonly prefix: string
}

const NAMES = ['upload', 'tasks', 'docs', 'status', 'closeGrace', 'prefix']
const POLICIES: unknown[] = ['multi-status', 'collapse'] satisfies StatusPolicy[]

/** @throws FST_MULTI_STATUS_INVALID_OPTION, a TypeError, for the first option that is not what it should be */
export function readOptions (options: FastifyMultiStatusOptions): Settings {
  const { upload = {}, tasks = {}, docs = {}, status = 'multi-status', closeGrace = 10_000, prefix = '' } = options
  for (const name of Object.keys(options)) expectOneOf('an option', NAMES, name)
  for (const [name, value] of Object.entries({ upload, tasks, docs })) expectObject(name, value)
  expectOneOf('status', POLICIES, status)
  checkInteger('closeGrace', closeGrace, 0)
  if (tasks !== false) checkTasksOptions(tasks)
  return { upload: upload === false ? false : readUploadOptions(upload), tasks, docs, status, closeGrace, prefix }
}

function expectOneOf (name: string, allowed: unknown[], value: unknown): void {
  if (!allowed.includes(value)) throw new InvalidOption(name, `one of ${allowed.map(show).join(', ')}`, show(value))
}

function expectObject (name: string, value: unknown): void {
  if (value === false || (typeof value === 'object' && value !== null && !Array.isArray(value))) return
  throw new InvalidOption(name, 'an object of options, or false', show(value))
}
