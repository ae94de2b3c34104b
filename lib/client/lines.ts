// Reads a stream line by line as it comes.

/**
 * The lines of a stream in UTF-8, the last one also where no line feed ends it. Who stops before the end ends the stream.
 * @param onChunk called whenever something came
 */
export async function * readLines (stream: ReadableStream<Uint8Array>, onChunk?: () => void): AsyncGenerator<string, void> {
  const reader = stream.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (value) onChunk?.()
      const lines = (rest + decoder.decode(value, { stream: !done })).split('\n')
      rest = lines.pop()!
      yield * lines
      if (done) break
    }
    if (rest) yield rest
  } finally {
    reader.cancel().catch(() => {})
  }
}
