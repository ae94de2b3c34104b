// A logger for where there is no Fastify app to have one.
import type { FastifyBaseLogger } from 'fastify'

type Say = (...said: unknown[]) => void

function ignore (): void {}

/** @param say what takes warnings and errors; nothing else is said */
export function plainLogger (say: Say = ignore): FastifyBaseLogger {
  const logger = {
    level: say === ignore ? 'silent' : 'warn',
    child: () => logger,
    silent: ignore,
    trace: ignore,
    debug: ignore,
    info: ignore,
    warn: say,
    error: say,
    fatal: say
  } as FastifyBaseLogger
  return logger
}
