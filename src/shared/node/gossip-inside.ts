import type { AbortOptions, Connection, PeerId as Libp2pPeerId } from '@libp2p/interface'
import type { Registrar } from '@libp2p/interface-internal'
import { MAX_GOSSIP_MESSAGES_PER_RPC, MAX_GOSSIP_RPC_BYTES } from './gossip-limits.ts'
import type { TOPIC_SCORE } from './gossip-score.ts'

// gossipsub from inside, where it has no option for what we need: docs/decisions/0016-broadcast.md says what and why.

interface Rpc {
  subscriptions?: Array<{ readonly topic?: string }>
  messages: Array<{ readonly topic: string; readonly data?: Uint8Array }>
  control?: unknown
}

/** What gossipsub keeps to itself and we need; the version is pinned. */
export interface GossipInside {
  readonly peers: Map<string, Libp2pPeerId>
  readonly topics: ReadonlyMap<string, ReadonlySet<string>>
  readonly mcache: {
    readonly size: number
    getGossipIDs(topics: ReadonlySet<string>): Map<string, Uint8Array[]>
  }
  readonly seenCache: { readonly size: number }
  readonly streamsInbound: ReadonlyMap<string, unknown>
  readonly streamsOutbound: ReadonlyMap<string, { close(options?: AbortOptions): Promise<void> }>
  readonly opts: { readonly scoreParams: { readonly topics: Record<string, typeof TOPIC_SCORE> } }
  readonly score: {
    readonly peerStats: Map<string, { connected: boolean; readonly knownIPs: Set<string> }>
    readonly scoreCache: Map<string, unknown>
    score(id: string): number
    addPeer(id: string): void
    addPenalty(id: string, penalty: number, label: string): void
    rejectMessage(id: string, ...rest: unknown[]): void
    rejectInvalidMessage(id: string, ...rest: unknown[]): void
    removeIPsForPeer(id: string, ips: Set<string>): void
  }
  readonly acceptFromWhitelist: Map<string, unknown>
  protocols: string[]
  outboundInflightQueue: { push(item: { peerId: Libp2pPeerId; connection: Connection }): void; end(): void }
  getMeshPeers(topic: string): string[]
  publish(
    topic: string,
    data: Uint8Array,
    options: { readonly floodPublish: boolean }
  ): Promise<{ readonly recipients: readonly Libp2pPeerId[] }>
  handleReceivedRpc(from: Libp2pPeerId, rpc: Rpc): Promise<void>
  sendRpc(id: string, rpc: Rpc): boolean
  createOutboundStream(peerId: Libp2pPeerId, connection: Connection): Promise<void>
  onPeerConnected(peerId: Libp2pPeerId, connection: Connection): void
  onPeerDisconnected(peerId: Libp2pPeerId): void
  start(): Promise<void>
  stop(): Promise<void>
}

/**
 * A registrar that tells nothing of peers: we do, by their connections. libp2p's goes by identify, and takes a neighbour
 * out when an answer arrives that was given before it had started to gossip. Protocols are served from `serve` on:
 * gossipsub has them served before it is started, takes the streams that come meanwhile, and never reads them.
 */
export function deafRegistrar(registrar: Registrar): { readonly registrar: Registrar; serve(): Promise<void> } {
  const handled: Array<Parameters<Registrar['handle']>> = []
  const deaf = new Proxy(registrar, {
    get(target, name) {
      if (name === 'handle') return async (...args: Parameters<Registrar['handle']>) => void handled.push(args)
      if (name === 'register') return async () => 'deaf'
      if (name === 'unregister') return () => undefined
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  return {
    registrar: deaf,
    async serve() {
      await Promise.all(handled.map(args => registrar.handle(...args)))
    }
  }
}

/** gossipsub goes by a score for a second, and takes 128 RPCs on a good one, whatever they are. */
export function biteAtOnce(inside: GossipInside): void {
  const { score, acceptFromWhitelist } = inside
  for (const name of ['rejectMessage', 'rejectInvalidMessage', 'addPenalty'] as const) {
    const count = score[name].bind(score) as (id: string, ...rest: unknown[]) => void
    score[name] = (id: string, ...rest: unknown[]) => {
      count(id, ...rest)
      score.scoreCache.delete(id)
      acceptFromWhitelist.delete(id)
    }
  }
}

/** gossipsub keeps a bad score of whoever has gone, and gives it a new one when it comes back. */
export function keepScores({ score }: GossipInside): void {
  const add = score.addPeer.bind(score)
  score.addPeer = id => {
    const kept = score.peerStats.get(id)
    if (kept === undefined) add(id)
    else kept.connected = true
  }
}

/** What a neighbour asked for goes out in RPCs it takes: gossipsub answers with one, of any length. */
export function splitOutbound(inside: GossipInside): void {
  const send = inside.sendRpc.bind(inside)
  inside.sendRpc = (id, rpc) => {
    if (rpc.messages.length < 2) return send(id, rpc)
    const [first, ...parts] = batches(rpc.messages)
    const isSent = send(id, { ...rpc, messages: first ?? [] })
    return parts.reduce((ok, messages) => send(id, { subscriptions: [], messages }) && ok, isSent)
  }
}

/** Messages in order, each batch below half of what a neighbour takes; a single message always fits. */
function batches<M extends { readonly data?: Uint8Array }>(messages: readonly M[]): M[][] {
  const all: M[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const message of messages) {
    const size = (message.data?.length ?? 0) + 512
    const last = all.at(-1)
    if (last === undefined || bytes + size > MAX_GOSSIP_RPC_BYTES / 2 || last.length >= MAX_GOSSIP_MESSAGES_PER_RPC) {
      all.push([message])
      bytes = size
    } else {
      last.push(message)
      bytes += size
    }
  }
  return all
}

/** gossipsub waits until each neighbour has read all that was sent to it: for ever, for one that does not read. */
export async function stopWithin(ms: number, inside: GossipInside): Promise<void> {
  const signal = AbortSignal.timeout(ms)
  for (const stream of inside.streamsOutbound.values()) {
    const close = stream.close.bind(stream)
    stream.close = () => close({ signal })
  }
  await inside.stop()
}
