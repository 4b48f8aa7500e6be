import { setTimeout as delay } from 'node:timers/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import { create as digest } from 'multiformats/hashes/digest'
import type { Stack } from './stack.ts'

const keyOf = (topic: string) => CID.createV1(0x55, digest(0x12, Buffer.from(topic, 'hex')))

const START_MS = 60_000
/** Longest wait for the self-queries of one process's nodes. */
const SETTLE_MS = 60_000
const QUERY_MS = 10_000
const DAY_MS = 86_400_000

/**
 * A node of the network. What it does by the clock (a ping over each connection every 10 s, a self-query and a refresh
 * of its table every 5 min) is off: 64 nodes on few cores need 60 % of a core for it, which would be the newcomer's,
 * and pings that come late make a busy machine cut the connections, dial anew, and never come to rest.
 * The newcomer is configured in newcomers/libp2p.js and keeps its defaults.
 */
async function start(host: string, bootstrap: string | undefined) {
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
        protocol: '/meet/kad/1.0.0',
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
  await node.handle('/meet/echo/1.0.0', stream => {
    stream.addEventListener('message', event => stream.send(event.data.subarray()))
  })
  if (bootstrap !== undefined) await node.dial(multiaddr(bootstrap), { signal: AbortSignal.timeout(START_MS) })
  return { node, isSettled }
}

type Started = Awaited<ReturnType<typeof start>>
const nodes: Started[] = []
let member: Started['node']

/**
 * Every node looks itself up one second after its start, and knows its neighbours then. Asking for another look-up
 * would only queue up behind those of all the others. Bounded: a node alone at first waits for somebody to ask.
 */
async function settled(started: readonly Started[]): Promise<void> {
  await Promise.race([
    Promise.all(started.map(({ isSettled }) => isSettled)),
    delay(SETTLE_MS, undefined, { ref: false })
  ])
  for (const { node } of started) {
    const { routingTableRefresh } = node.services.dht as unknown as { routingTableRefresh: { stop(): Promise<void> } }
    await routingTableRefresh.stop()
  }
}

/** Whether a look-up names a provider. */
async function finds(node: Started['node'], topic: string): Promise<boolean> {
  try {
    for await (const event of node.services.dht.findProviders(keyOf(topic), {
      signal: AbortSignal.timeout(QUERY_MS)
    })) {
      if (event.name === 'PROVIDER' && event.providers.length > 0) return true
    }
  } catch {
    // one node that does not answer is no reason to stop: asked again
  }
  return false
}

/** Puts the member under the topic; how many nodes were told. */
async function holders(topic: string): Promise<number> {
  let told = 0
  try {
    for await (const event of member.services.dht.provide(keyOf(topic), { signal: AbortSignal.timeout(QUERY_MS) })) {
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') told++
    }
  } catch {
    // one node that does not answer is no reason to stop
  }
  return told
}

export const stack: Stack = {
  async nodes(count, host, bootstrap) {
    let known = bootstrap
    for (let i = 0; i < count; i++) {
      const started = await start(host, known)
      known ??= started.node.getMultiaddrs()[0]?.toString()
      nodes.push(started)
    }
    return nodes[0]?.node.getMultiaddrs()[0]?.toString() ?? ''
  },
  async settle() {
    await settled(nodes)
  },
  async member(host, bootstrap) {
    const started = await start(host, bootstrap)
    await settled([started])
    member = started.node
  },
  async join(topic) {
    for (let tries = 0; tries < 3; tries++) if ((await holders(topic)) > 0) return
  },
  async lists(topic) {
    // not by the bootstrap, which every newcomer asks: what it learns now would be known to it then
    const asked = nodes.at(-1)?.node
    return asked !== undefined && (await finds(asked, topic))
  },
  async leave(topic) {
    await member.services.dht.cancelReprovide(keyOf(topic))
  }
}
