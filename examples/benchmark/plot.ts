// Draws the cost of an item by the size of its batch, both on logarithmic axes.

/** Points by size, in microseconds per item. */
export interface Series {
  readonly name: string
  readonly points: readonly (readonly [size: number, cost: number])[]
}

const [WIDTH, HEIGHT, LEFT, BOTTOM, MARGIN] = [640, 320, 60, 50, 20]
const COLORS = ['#1f6feb', '#d1570a']

/** The plot as SVG, readable on a light and on a dark ground. */
export function drawGrowth (series: readonly Series[]): string {
  const points = series.flatMap(({ points }) => points)
  const [sizes, costs] = [points.map(([size]) => size), points.map(([, cost]) => cost)]
  const x = scale(decades(sizes), LEFT, WIDTH - MARGIN)
  const y = scale(decades(costs), HEIGHT - BOTTOM, MARGIN)
  const parts = [
    ...ticks(sizes).map(size => `<line x1="${x(size)}" y1="${MARGIN}" x2="${x(size)}" y2="${HEIGHT - BOTTOM}" class="grid"/>
<text x="${x(size)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${size.toLocaleString('en')}</text>`),
    ...ticks(costs).map(cost => `<line x1="${LEFT}" y1="${y(cost)}" x2="${WIDTH - MARGIN}" y2="${y(cost)}" class="grid"/>
<text x="${LEFT - 8}" y="${y(cost) + 4}" text-anchor="end">${cost.toLocaleString('en')}</text>`),
    ...series.map((one, index) => drawSeries(one, COLORS[index]!, x, y, index)),
    `<text x="${(LEFT + WIDTH) / 2}" y="${HEIGHT - 8}" text-anchor="middle">items in one request</text>`,
    `<text x="14" y="${HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})">µs per item</text>`
  ]
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Microseconds per item by the number of items in one request">
<style>text { font: 12px sans-serif; fill: #777 } .grid { stroke: #777; stroke-opacity: 0.25 }</style>
${parts.join('\n')}
</svg>
`
}

type Scale = (value: number) => number

function drawSeries ({ name, points }: Series, color: string, x: Scale, y: Scale, index: number): string {
  const path = points.map(([size, cost]) => `${x(size)},${y(cost)}`).join(' ')
  const dots = points.map(([size, cost]) => `<circle cx="${x(size)}" cy="${y(cost)}" r="3" fill="${color}"/>`).join('')
  return `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>${dots}
<text x="${WIDTH - MARGIN - 70}" y="${MARGIN + 16 + index * 18}" style="fill: ${color}">● ${name}</text>`
}

/** The whole powers of ten around the values. */
function decades (values: readonly number[]): [from: number, to: number] {
  return [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))]
}

function ticks (values: readonly number[]): number[] {
  const [from, to] = decades(values)
  return Array.from({ length: to - from + 1 }, (_, index) => 10 ** (from + index))
}

function scale ([from, to]: [number, number], start: number, end: number): Scale {
  return value => Math.round(start + (Math.log10(value) - from) / (to - from) * (end - start))
}
