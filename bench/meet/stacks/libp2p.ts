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
const SETTLE_MS = 15_000

async function start(host: string, bootstrap: string | undefined) {
  const node = await createLibp2p({
    addresses: { listen: [`/ip4/${host}/tcp/0`] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
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
      dht: kadDHT({ protocol: '/meet/kad/1.0.0', clientMode: false, peerInfoMapper: passthroughMapper })
    }
  })
  await node.handle('/meet/echo/1.0.0', stream => {
    stream.addEventListener('message', event => stream.send(event.data.subarray()))
  })
  if (bootstrap !== undefined) await node.dial(multiaddr(bootstrap), { signal: AbortSignal.timeout(START_MS) })
  return node
}

type Node = Awaited<ReturnType<typeof start>>
const nodes: Node[] = []
let member: Node

const drain = async (events: AsyncIterable<unknown>) => {
  try {
    for await (const _ of events);
  } catch {
    // one node that does not answer is no reason to stop
  }
}

export const stack: Stack = {
  async nodes(count, host, bootstrap) {
    let known = bootstrap
    for (let i = 0; i < count; i++) {
      const node = await start(host, known)
      known ??= node.getMultiaddrs()[0]?.toString()
      nodes.push(node)
    }
    return nodes[0]?.getMultiaddrs()[0]?.toString() ?? ''
  },
  async settle() {
    // Bounded: a lookup in a young network waits for nodes that are busy with lookups of their own.
    const signal = AbortSignal.timeout(SETTLE_MS)
    for (const node of nodes) {
      await drain(node.services.dht.getClosestPeers(node.peerId.toMultihash().bytes, { signal }))
    }
  },
  async member(host, bootstrap) {
    member = await start(host, bootstrap)
    const signal = AbortSignal.timeout(SETTLE_MS)
    await drain(member.services.dht.getClosestPeers(member.peerId.toMultihash().bytes, { signal }))
  },
  async join(topic) {
    await drain(member.services.dht.provide(keyOf(topic)))
  },
  async lists() {
    return true // its `join` waits for it
  },
  async leave(topic) {
    await member.services.dht.cancelReprovide(keyOf(topic))
  }
}
