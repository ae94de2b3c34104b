// Plans a batch: which request waits for which, and when each may begin.
import type { BatchedRequest } from '../../schemas/index.js'
import type { Batch } from '../core/items/batch.js'
import { BadDependency, badReference } from '../errors.js'
import { fillBody, fillUrl, mayRefer, type Read, type Reference } from './references.js'

/** One valid request of a batch, and what it waits for. */
export interface Step {
  readonly item: BatchedRequest
  /** Its place in the batch. */
  readonly place: number
  /** The ids of the requests that must have succeeded before: those in `dependsOn`, and those that it refers to. */
  readonly after: ReadonlySet<string>
  /** Whether its URL or its body has references. */
  readonly hasReferences: boolean
  /** Why it cannot run whatever the others do. */
  readonly problem: unknown
}

/**
 * Plans a batch. As only earlier ids are allowed, there can be no cycle.
 * @throws FST_MULTI_STATUS_BAD_DEPENDENCY, 400, when `dependsOn` names an id that is unknown, later or the request's own
 */
export function planBatch ({ items, places, keys }: Batch): Step[] {
  const placeOf = new Map(keys.map((key, place) => [key as string, place]))
  return (items as BatchedRequest[]).map((item, index) => {
    const place = places[index]!
    if (item.dependsOn === undefined && !mayRefer(item)) return { item, place, after: NOTHING, hasReferences: false, problem: undefined }
    for (const id of item.dependsOn ?? []) expectEarlier(item.id, id, place, placeOf)
    const after = new Set(item.dependsOn)
    const { references, problem } = findReferences(item, place, placeOf)
    for (const { id } of references) after.add(id)
    return { item, place, after, hasReferences: references.length > 0, problem }
  })
}

const NOTHING: ReadonlySet<string> = new Set()

function expectEarlier (own: string, id: string, place: number, placeOf: ReadonlyMap<string, number>): void {
  const other = placeOf.get(id)
  if (other !== undefined && other < place) return
  const why = other === undefined ? 'which is not in the batch' : other === place ? 'which is itself' : 'which comes later'
  throw new BadDependency(JSON.stringify(own), JSON.stringify(id), why)
}

function findReferences (item: BatchedRequest, place: number, placeOf: ReadonlyMap<string, number>) {
  const references: Reference[] = []
  const record: Read = reference => {
    const other = placeOf.get(reference.id)
    if (other === undefined || other >= place) {
      throw badReference(reference.at, `must name a request before this one; received ${JSON.stringify(reference.id)}`)
    }
    references.push(reference)
    return 'value'
  }
  try {
    fillUrl(item.url, record)
    fillBody(item.body, record)
    return { references, problem: undefined }
  } catch (problem) {
    return { references: [], problem }
  }
}

/** Hands out steps as soon as what they wait for is settled. */
export interface Schedule {
  readonly steps: AsyncIterable<Step>
  /** Tells that a request is settled, so that those which wait for it may come next. */
  settled (id: string): void
}

/** @param isSettled whether an id needs no waiting for, as that of an invalid request */
export function schedule (plan: readonly Step[], isSettled: (id: string) => boolean): Schedule {
  const ready: Step[] = []
  const waiting = new Map<string, Step[]>()
  const missing = new Map<Step, number>()
  let wake = () => {}

  for (const step of plan) {
    const open = [...step.after].filter(id => !isSettled(id))
    missing.set(step, open.length)
    if (open.length === 0) ready.push(step)
    for (const id of open) waiting.set(id, [...waiting.get(id) ?? [], step])
  }

  async function * handOut () {
    for (let left = plan.length; left > 0; left--) {
      while (ready.length === 0) await new Promise<void>(resolve => { wake = resolve })
      yield ready.shift()!
    }
  }

  return {
    steps: handOut(),
    settled (id) {
      for (const step of waiting.get(id) ?? []) {
        const left = missing.get(step)! - 1
        missing.set(step, left)
        if (left === 0) ready.push(step)
      }
      wake()
    }
  }
}
