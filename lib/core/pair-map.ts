// What belongs to two objects together.

/** Values by two objects, kept for as long as both are there. */
export interface PairMap<A extends object, B extends object, V> {
  get (a: A, b: B): V | undefined
  set (a: A, b: B, value: V): void
}

export function createPairMap<A extends object, B extends object, V> (): PairMap<A, B, V> {
  const maps = new WeakMap<A, WeakMap<B, V>>()
  return {
    get: (a, b) => maps.get(a)?.get(b),
    set (a, b, value) {
      const values = maps.get(a) ?? new WeakMap<B, V>()
      maps.set(a, values.set(b, value))
    }
  }
}
