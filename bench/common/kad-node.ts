import { setTimeout as delay } from 'node:timers/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { identify } from '@libp2p/identify'
import { type KadDHTInit, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const START_MS = 60_000
/** Longest wait for the self-queries of one process's nodes. */
const SETTLE_MS = 60_000
const DAY_MS = 86_400_000

/**
 * A node of a plain libp2p network with a DHT. What it does by the clock (a ping over each connection every 10 s, a
 * self-query and a refresh of its table every 5 min) is off: 64 nodes on few cores need 60 % of a core for it, which
 * would be missing to what is measured, and pings that come late make a busy machine cut the connections, dial anew, and
 * never come to rest.
 */
export async function startKadNode(
  host: string,
  bootstrap: string | undefined,
  init: Pick<KadDHTInit, 'validators' | 'selectors'> & { readonly protocol: string }
) {
  const node = await createLibp2p({
    start: false,
    addresses: { listen: [`/ip4/${host}/tcp/0`] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    // All of them share one address here: the limits per address would measure themselves.
    connectionManager: {
      inboundConnectionThreshold: 10_000,
      maxIncomingPendingConnections: 10_000,
      maxConnections: 10_000,
      // Nor is it the question how long many nodes on few cores need to start.
      dialTimeout: START_MS,
      addressDialTimeout: START_MS,
      inboundUpgradeTimeout: START_MS
    },
    services: {
      identify: identify(),
      ping: ping({ maxInboundStreams: 8, maxOutboundStreams: 8 }),
      dht: kadDHT({
        ...init,
        clientMode: false,
        peerInfoMapper: passthroughMapper,
        querySelfInterval: DAY_MS
      })
    }
  })
  const isSettled = new Promise<void>(resolve => {
    node.addEventListener('kad-dht:query:self' as 'start', () => resolve(), { once: true })
  })
  await node.start()
  if (bootstrap !== undefined) await node.dial(multiaddr(bootstrap), { signal: AbortSignal.timeout(START_MS) })
  return { node, isSettled }
}

export type KadNode = Awaited<ReturnType<typeof startKadNode>>

/**
 * Every node looks itself up one second after its start, and knows its neighbours then. Asking for another look-up
 * would only queue up behind those of all the others. Bounded: a node alone at first waits for somebody to ask.
 */
export async function settleKadNodes(started: readonly KadNode[]): Promise<void> {
  await Promise.race([
    Promise.all(started.map(({ isSettled }) => isSettled)),
    delay(SETTLE_MS, undefined, { ref: false })
  ])
  for (const { node } of started) {
    const { routingTableRefresh } = node.services.dht as unknown as { routingTableRefresh: { stop(): Promise<void> } }
    await routingTableRefresh.stop()
  }
}
