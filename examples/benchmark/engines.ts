// The versions of Node that figures are taken on.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** Where Node of this version is; npx fetches it. Undefined when it cannot be had. */
export async function findNode (version: string): Promise<string | undefined> {
  if (process.version.startsWith(`v${version}.`)) return process.execPath
  try {
    const { stdout } = await promisify(execFile)('npx', ['-y', '-p', `node@${version}`, '-c', 'node -p process.execPath'])
    return stdout.trim()
  } catch {
    console.error(`*** SKIPPED: no Node ${version}, as npx cannot fetch it ***`)
    return undefined
  }
}
