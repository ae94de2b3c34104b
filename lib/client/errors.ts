// The errors of the client, and the checks of a response that throw them.

/** At least one item of a batch failed. */
export class PartialFailureError<F = unknown, S = unknown> extends Error {
  override readonly name = 'PartialFailureError'

  /**
   * @param failed the results of the items that failed
   * @param succeeded the results of the others
   */
  constructor (readonly failed: F[], readonly succeeded: S[]) {
    super(`${failed.length} of ${failed.length + succeeded.length} items failed: ${JSON.stringify(failed).slice(0, 300)}`)
  }
}

/** The server answered the whole request with an error or another content type, not with results. */
export class ResponseError extends Error {
  override readonly name = 'ResponseError'
  /** The status code of the response. */
  readonly status: number

  /**
   * @param response the response; its body has been read
   * @param body undefined if it was not JSON
   */
  constructor (readonly response: Response, readonly body?: { readonly message?: unknown }) {
    super(`Received ${response.status} ${body?.message ?? response.statusText}`)
    this.status = response.status
  }
}

/** A stream ended before all its results arrived: its summary is missing, or counts other results. */
export class StreamCutError extends Error {
  override readonly name = 'StreamCutError'

  /** @param received how many results arrived */
  constructor (readonly received: number, cause?: unknown) {
    super(`The stream was cut after ${received} results`, { cause })
  }
}

/**
 * Checks the status of a response and, if `type` is given, its content type.
 * @throws ResponseError unless the status is 2xx and the type fits
 */
export async function expectResponse (response: Response, type = ''): Promise<void> {
  if (response.ok && String(response.headers.get('content-type')).includes(type)) return
  throw new ResponseError(response, await response.json().catch(() => undefined) as { message?: unknown })
}

/**
 * Parses the JSON of a response.
 * @throws ResponseError unless its status is 2xx
 */
export async function readJson<B> (response: Response): Promise<B> {
  await expectResponse(response)
  return response.json() as Promise<B>
}
