// Many items in one transaction, each in a savepoint of its own, so that one that fails takes no other with it.
import type { PGlite, Transaction } from '@electric-sql/pglite'
import { ItemError } from '../../lib/index.js'

export interface TransactionOptions {
  /** Whether one failure undoes everything. */
  allOrNothing: boolean
  /** Undoes everything when it aborts. */
  signal: AbortSignal
}

/**
 * Resolves, once the transaction is committed or rolled back, with what became of each item. One item at a time,
 * because savepoints of one connection nest; and without a time limit of its own for each, because a statement that
 * nobody waits for any more would still be in the transaction: that is for `statement_timeout` of a server to say.
 * @throws what keeps the transaction itself from going on; then nothing was done
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

/** What the work throws is its outcome; what the savepoint throws ends the transaction, which cannot be trusted then. */
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
