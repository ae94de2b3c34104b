// Objects for results.

type PlainConstructor = new () => Record<string, unknown>

/**
 * Makes an object as `{}` does. Of literals the engine notes how many are still alive when it collects garbage, and when
 * that happens in the middle of a batch, all of its results are; from then on it would give every result, for the life of
 * the process, memory that is collected seldom. That made batches a fifth slower.
 */
export const PlainObject = function () {} as unknown as PlainConstructor
PlainObject.prototype = Object.prototype

/** The same for an object of two members, as all that is made by one constructor gets as much memory as the largest needs. */
export const PlainPair = function () {} as unknown as PlainConstructor
PlainPair.prototype = Object.prototype
