// What the functions of the client throw.

/** Some items of a batch, or all, have failed. */
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

/** The whole request was answered otherwise than with results. */
export class ResponseError extends Error {
  override readonly name = 'ResponseError'
  /** The status code of the response. */
  readonly status: number

  /**
   * @param response its body has been read
   * @param body undefined where it was no JSON
   */
  constructor (readonly response: Response, readonly body?: { readonly message?: unknown }) {
    super(`Received ${response.status} ${body?.message ?? response.statusText}`)
    this.status = response.status
  }
}

/** The results that came are not all: the stream ended without its summary, or with one that does not fit. */
export class StreamCutError extends Error {
  override readonly name = 'StreamCutError'

  /** @param received how many results came */
  constructor (readonly received: number, cause?: unknown) {
    super(`The stream was cut after ${received} results`, { cause })
  }
}

/** @throws ResponseError unless the response is of the 2xx kind and, where `type` is given, of that content type */
export async function expectResponse (response: Response, type = ''): Promise<void> {
  if (response.ok && String(response.headers.get('content-type')).includes(type)) return
  throw new ResponseError(response, await response.json().catch(() => undefined) as { message?: unknown })
}

/** The JSON in a response. @throws ResponseError unless it is of the 2xx kind */
export async function readJson<B> (response: Response): Promise<B> {
  await expectResponse(response)
  return response.json() as Promise<B>
}
