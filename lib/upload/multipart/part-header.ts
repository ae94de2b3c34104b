// Reads the header of one part of a form (RFC 7578 section 4): whether it is a file, its name and its type.

/** The header fields of a part, by lower-case name, in bytes as a latin1 string. */
export type PartHeader = Readonly<Record<string, readonly string[] | undefined>>

/** The name of a parameter, with the number of its piece if it comes in several, and a star if its value is percent-encoded. */
const NAME = /;\s*([^\s=;*"]+(?:\*\d+)?)(\*?)\s*=\s*/y

const QUOTED = /"((?:\\.|[^"\\])*)"/y

/** Text in ASCII is the same in UTF-8. */
// eslint-disable-next-line no-control-regex
const NOT_ASCII = /[^\u0000-\u007f]/

const PERCENT_ENCODED = /^([^']*)'[^']*'(.*)$/

/** The type of a part that declares none (RFC 7578 section 4.4). */
const DEFAULT_TYPE = 'text/plain'

/** The type that clients declare for a file of unknown type. */
const BINARY = 'application/octet-stream'

/** The beginning of the type of a part that contains parts, as an older standard allowed for several files of one field. */
const NESTED = 'multipart/'

/**
 * Reads the name and the type of a file. A part that is neither a file nor a field counts as a file without a name, so
 * that it gets a result.
 * @returns undefined for a field
 */
export function readFileHeader (header: PartHeader): { name: string, type: string } | undefined {
  const disposition = header['content-disposition']?.[0]
  const type = readMediaType(header['content-type']?.[0]) ?? DEFAULT_TYPE
  if (disposition === undefined) return { name: '', type }
  const name = readFileName(disposition)
  const isField = name === undefined && type !== BINARY && !type.startsWith(NESTED)
  return isField ? undefined : { name: name ?? '', type }
}

/** @returns the name of a part that is a field; undefined when it has none */
export function readFieldName (header: PartHeader): string | undefined {
  return readParameters(header['content-disposition']![0]!).get('name')
}

/** @returns the boundary between the parts of a form; undefined when there is none */
export function readBoundary (contentType: string): string | undefined {
  return readParameters(contentType).get('boundary')?.trim() || undefined
}

/** @returns the media type without its parameters, in lower case; undefined when there is none */
export function readMediaType (value = ''): string | undefined {
  return value.slice(0, endOfBare(value, 0)).trim().toLowerCase() || undefined
}

/** The plain name wins, because a form must not have the other one (RFC 7578 section 4.2). */
function readFileName (disposition: string): string | undefined {
  const parameters = readParameters(disposition)
  const name = parameters.get('filename') ?? parameters.get('filename*')
  // A name in pieces (RFC 2231) is not put together, because no form may have one; but such a part is no field.
  const isInPieces = parameters.has('filename*0') || parameters.has('filename*0*')
  return name ?? (isInPieces ? '' : undefined)
}

/** The first parameter of each name, percent-encoded ones with a star behind it. */
function readParameters (value: string): Map<string, string> {
  const parameters = new Map<string, string>()
  for (let at = value.indexOf(';'); at !== -1; at = value.indexOf(';', at)) {
    const name = matchAt(NAME, value, at)
    if (name === null) {
      at++
      continue
    }
    const begin = at + name[0].length
    const quoted = matchAt(QUOTED, value, begin)
    at = quoted === null ? endOfBare(value, begin) : begin + quoted[0].length
    const key = name[1]!.toLowerCase() + name[2]!
    if (!parameters.has(key)) parameters.set(key, decode(quoted?.[1], value.slice(begin, at), name[2] === '*'))
  }
  return parameters
}

function matchAt (pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}

function endOfBare (value: string, begin: number): number {
  const end = value.indexOf(';', begin)
  return end === -1 ? value.length : end
}

function decode (quoted: string | undefined, bare: string, isPercentEncoded: boolean): string {
  if (isPercentEncoded) return decodePercent(quoted ?? bare)
  return toText(quoted?.replace(/\\(["\\])/g, '$1') ?? bare.trim())
}

/** Decodes RFC 8187: UTF-8, or the one other encoding that clients have used. */
function decodePercent (value: string): string {
  const [, charset = '', encoded = value] = PERCENT_ENCODED.exec(value.trim()) ?? []
  const bytes = encoded.replace(/%([0-9a-f]{2})/gi, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return charset.toLowerCase() === 'iso-8859-1' ? bytes : toText(bytes)
}

function toText (bytes: string): string {
  return NOT_ASCII.test(bytes) ? Buffer.from(bytes, 'latin1').toString('utf8') : bytes
}
