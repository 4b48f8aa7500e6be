import type { PeerId } from '../core/address.ts'

// Who may connect, and who has to go when the node is full. After Bitcoin Core's eviction logic: protect what an
// attacker cannot easily imitate, then close the youngest of the largest group from one network.

/** Milliseconds a new connection is left alone, so that it can say what it came for. */
const GRACE_MS = 5_000
/** Connections of each protected class that an attacker cannot push out. */
const PROTECTED_OLDEST = 16

export interface OpenConnection {
  readonly id: string
  readonly peerId: PeerId
  readonly inbound: boolean
  /** The /24 or /48 it comes from. */
  readonly prefix: string
  readonly openedAt: number
  /** It has a stream of ours open: a topic or messages. */
  readonly isUsed: boolean
}

/**
 * The connection to close when `connections` are more than may be open, or undefined when none may be.
 * Outbound ones never are: we chose them. Idle ones go before used ones; among them the youngest of the largest prefix.
 */
export function planEviction(now: number, connections: readonly OpenConnection[]): OpenConnection | undefined {
  const inbound = connections.filter(connection => connection.inbound)
  const settled = inbound.filter(connection => now - connection.openedAt >= GRACE_MS)
  const idle = settled.filter(connection => !connection.isUsed)
  const byAge = (a: OpenConnection, b: OpenConnection): number => a.openedAt - b.openedAt
  const used = settled
    .filter(connection => connection.isUsed)
    .sort(byAge)
    .slice(PROTECTED_OLDEST)
  // nobody has settled yet: a flood. The youngest of the largest prefix goes all the same.
  const candidates = idle.length > 0 ? idle : used.length > 0 ? used : inbound.filter(connection => !connection.isUsed)
  const groups = Map.groupBy(candidates, connection => connection.prefix)
  const largest = [...groups.values()].sort((a, b) => b.length - a.length)[0]
  return largest?.sort(byAge).at(-1)
}

/** The network an address belongs to: /24 for IPv4, /48 for IPv6, else the text itself. */
export function prefixOf(host: string): string {
  if (host.includes('.') && !host.includes(':')) return host.split('.').slice(0, 3).join('.')
  const mapped = /^::ffff:(\d+\.\d+\.\d+)\.\d+$/i.exec(host)
  if (mapped?.[1] !== undefined) return mapped[1]
  return expandV6(host).slice(0, 3).join(':')
}

function expandV6(host: string): string[] {
  const [head = '', tail] = host.split('%')[0]?.split('::') ?? []
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length)
  return [...left, ...Array<string>(zeros).fill('0'), ...right].map(part => part.toLowerCase().replace(/^0+(?=.)/, ''))
}
