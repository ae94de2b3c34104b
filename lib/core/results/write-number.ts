// Writes numbers as JSON, byte by byte: those with at most two decimals, as most are, digit by digit.

const MINUS = 45
const POINT = 46
const ZERO = 48

/** Below this, hundredths are small integers for the engine. */
const SMALL = 1e7

/**
 * Writes a finite number as `JSON.stringify` does.
 * @returns where it ends; there must be room for the longest number
 */
export function writeNumber (buffer: Buffer, at: number, number: number): number {
  // -0 is 0 in JSON.
  if (number >= 0) return writePositive(buffer, at, number)
  buffer[at] = MINUS
  return writePositive(buffer, at + 1, -number)
}

function writePositive (buffer: Buffer, at: number, number: number): number {
  if ((number | 0) === number) return writeInteger(buffer, at, number)
  const hundredths = number < SMALL ? (number * 100 + 0.5) | 0 : 0
  // Division is exact to the last bit, so that these decimals are the shortest that give the number.
  if (hundredths / 100 === number) return writeHundredths(buffer, at, hundredths)
  return writeDigits(buffer, at, String(number))
}

function writeInteger (buffer: Buffer, at: number, number: number): number {
  const end = at + (number < 10 ? 1 : number < 100 ? 2 : number < 1e3 ? 3 : number < 1e4 ? 4 : number < 1e5 ? 5 : number < 1e6 ? 6 : number < 1e7 ? 7 : number < 1e8 ? 8 : number < 1e9 ? 9 : 10)
  let rest = number
  for (let place = end - 1; place >= at; place--) {
    const next = (rest / 10) | 0
    buffer[place] = ZERO + rest - next * 10
    rest = next
  }
  return end
}

/** @param hundredths no multiple of 100, as that would be an integer */
function writeHundredths (buffer: Buffer, at: number, hundredths: number): number {
  const whole = (hundredths / 100) | 0
  const rest = hundredths - whole * 100
  const tenths = (rest / 10) | 0
  const last = rest - tenths * 10
  const point = writeInteger(buffer, at, whole)
  buffer[point] = POINT
  buffer[point + 1] = ZERO + tenths
  if (last === 0) return point + 2
  buffer[point + 2] = ZERO + last
  return point + 3
}

function writeDigits (buffer: Buffer, at: number, digits: string): number {
  for (let index = 0; index < digits.length; index++) buffer[at + index] = digits.charCodeAt(index)
  return at + digits.length
}
