// Makes a logger for processes without a Fastify app.
import type { FastifyBaseLogger } from 'fastify'

type Write = (...message: unknown[]) => void

function ignore (): void {}

/** @param write receives warnings and errors; other levels are dropped. @default nothing is logged */
export function createConsoleLogger (write: Write = ignore): FastifyBaseLogger {
  const logger = {
    level: write === ignore ? 'silent' : 'warn',
    child: () => logger,
    silent: ignore,
    trace: ignore,
    debug: ignore,
    info: ignore,
    warn: write,
    error: write,
    fatal: write
  } as FastifyBaseLogger
  return logger
}
