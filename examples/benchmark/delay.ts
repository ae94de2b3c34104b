// A proxy for TCP that holds everything back for a while, as a long way does.
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A running proxy. */
export interface DelayProxy {
  readonly port: number
  close (): void
}

/** @param delay milliseconds for each direction; a round trip takes twice as long */
export function delayBefore (port: number, delay: number): Promise<DelayProxy> {
  const server = createServer({ noDelay: true }, client => {
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true })
    passOn(client, upstream, delay)
    passOn(upstream, client, delay)
  })
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => {
    resolve({ port: (server.address() as AddressInfo).port, close: () => { server.close() } })
  }))
}

/** Pieces keep their order, as timers of one length fire in theirs. */
function passOn (from: Socket, to: Socket, delay: number): void {
  from.on('data', chunk => setTimeout(() => to.write(chunk), delay))
  from.on('close', () => setTimeout(() => to.destroy(), delay))
  from.on('error', () => from.destroy())
}
