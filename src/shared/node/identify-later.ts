import type { Identify } from '@libp2p/identify'
import type { Connection, Libp2p } from '@libp2p/interface'
import type { Undo } from '../core/lifecycle.ts'

/**
 * Identifies every peer that connects, as libp2p does by itself, but nobody before `quietMs` have passed: only the DHT
 * needs to know who speaks what, and it starts no sooner.
 */
export function identifyAfter(libp2p: Libp2p, quietMs: number): Undo {
  const waiting = new Set<Connection>()
  const identifyNow = (connection: Connection): void => {
    if (connection.status !== 'open') return
    const service = libp2p.services.identify as Identify
    void service.identify(connection).catch(() => undefined) // it does not say who it is: it is no DHT node for us
  }
  let isQuiet = quietMs > 0
  const timer = setTimeout(() => {
    isQuiet = false
    for (const connection of waiting) identifyNow(connection)
    waiting.clear()
  }, quietMs)
  timer.unref()
  libp2p.addEventListener('connection:open', ({ detail: connection }) => {
    if (isQuiet) waiting.add(connection)
    else identifyNow(connection)
  })
  return () => clearTimeout(timer)
}
