// The checks that the options of every part have in common.
import { InvalidOption } from '../errors.js'
import { show } from './settle/options.js'

/** The names of the options in T; the compiler sees to it that none is missing. */
export function membersOf<T extends object> (members: Record<keyof T, 1>): string[] {
  return Object.keys(members)
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is an object and every member of it one of these */
export function checkMembers (name: string, value: unknown, members: readonly string[]): void {
  checkObject(name, value)
  for (const member of Object.keys(value as object)) checkOneOf(`an option in ${name}`, member, members)
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is an object */
export function checkObject (name: string, value: unknown, expected = 'an object of options'): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return
  throw new InvalidOption(name, expected, show(value))
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is one of these */
export function checkOneOf (name: string, value: unknown, allowed: readonly unknown[]): void {
  if (!allowed.includes(value)) throw new InvalidOption(name, `one of ${allowed.map(show).join(', ')}`, show(value))
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is undefined or a path */
export function checkPath (name: string, value: unknown): void {
  if (value === undefined || (typeof value === 'string' && value.startsWith('/'))) return
  throw new InvalidOption(name, 'a path as "/bulk"', show(value))
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is undefined or a function */
export function checkFunction (name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') throw new InvalidOption(name, 'a function', show(value))
}

/** @throws FST_MULTI_STATUS_INVALID_OPTION unless the value is a contract; by its members, as each copy of this package makes its own */
export function checkContract (name: string, value: unknown): void {
  const { schemas, fail } = Object(value) as { schemas?: unknown, fail?: unknown }
  if (typeof schemas === 'object' && schemas !== null && typeof fail === 'function') return
  throw new InvalidOption(name, 'a contract, as defineContract makes', show(value))
}
