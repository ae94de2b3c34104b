// The conformance checks for engines, for any test runner. A separate entry point.
import { lifeChecks } from './life-checks.js'
import { peerChecks } from './peer-checks.js'
import { runChecks } from './run-checks.js'
import type { EngineCheck } from './harness.js'

export type { EngineCheck, EngineUnderTest } from './harness.js'

/**
 * The checks. Each gets an engine of its own from `open`, and closes it.
 * @example for (const { name, run } of engineChecks) test(name, () => run({ open: async host => { ... } }))
 */
export const engineChecks: readonly EngineCheck[] = [...runChecks, ...lifeChecks, ...peerChecks]
