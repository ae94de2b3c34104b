// Runs many items in one transaction, each in its own savepoint, so that one failure does not undo the others.
import type { PGlite, Transaction } from '@electric-sql/pglite'
import { ItemError } from '../../lib/index.js'

export interface TransactionOptions {
  /** Whether one failure rolls back everything. */
  allOrNothing: boolean
  /** Rolls back everything when it aborts. */
  signal: AbortSignal
}

/**
 * Resolves with the outcome of each item, after the commit or rollback. Runs one item at a time, because savepoints of one
 * connection nest. Items have no timeout, because a statement that timed out would still run in the transaction; use the
 * server's `statement_timeout` for that.
 * @throws an error of the transaction itself; then nothing was done
 */
export function applyEach<T, R> (
  db: PGlite, items: readonly T[], work: (tx: Transaction, item: T) => Promise<R>, { allOrNothing, signal }: TransactionOptions
): Promise<PromiseSettledResult<R>[]> {
  return db.transaction(async tx => {
    const outcomes: PromiseSettledResult<R>[] = []
    for (const item of items) outcomes.push(signal.aborted ? rejected(signal.reason) : await inSavepoint(tx, () => work(tx, item)))
    const isDone = !signal.aborted && (!allOrNothing || outcomes.every(({ status }) => status === 'fulfilled'))
    if (isDone) return outcomes
    await tx.rollback()
    return outcomes.map(outcome => outcome.status === 'fulfilled' ? rejected(rolledBack()) : outcome)
  })
}

/** Runs the work in a savepoint. An error of the work is its outcome; an error of the savepoint ends the transaction. */
async function inSavepoint<R> (tx: Transaction, work: () => Promise<R>): Promise<PromiseSettledResult<R>> {
  await tx.exec('SAVEPOINT item')
  const [outcome] = await Promise.allSettled([work()])
  if (outcome.status === 'rejected') await tx.exec('ROLLBACK TO SAVEPOINT item')
  await tx.exec('RELEASE SAVEPOINT item')
  return outcome
}

function rejected (reason: unknown): PromiseRejectedResult {
  return { status: 'rejected', reason }
}

const rolledBack = () => new ItemError('Rolled back', { code: 'ROLLED_BACK', statusCode: 424, retryable: true })
