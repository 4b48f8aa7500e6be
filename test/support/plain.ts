import { mock } from 'node:test'
import { noise } from '@chainsafe/libp2p-noise'
import { identify } from '@libp2p/identify'
import type { Libp2p, PeerId, ServiceMap } from '@libp2p/interface'
import { type KadDHT, type KadDHTInit, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2pOptions } from 'libp2p'
import { CID } from 'multiformats/cid'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import { createLibp2pNode, type Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import type { Libp2pNodeOptions } from '../../src/shared/node/options.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'

// The two sides of every trap: libp2p and kad-dht as their documentation shows them, and Muster's node.

export const PLAIN_KAD = '/plain/kad/1.0.0'
const LISTEN = ['/ip4/127.0.0.1/tcp/0']
const NO_PATH = { index: 0, queued: 0, running: 0, total: 0 }

/** What makes kad-dht answer on loopback at all (T1), for the traps that lie behind that one. */
export const T1_CURE = { clientMode: false, peerInfoMapper: passthroughMapper } as const satisfies Partial<KadDHTInit>

/** Parts of kad-dht that tell what a node holds. */
export interface KadParts {
  readonly routingTable: { readonly size: number }
  readonly providers: { getProviders(key: CID): Promise<PeerId[]>; addProvider(key: CID, id: PeerId): Promise<void> }
  readonly rpc: { handleMessage: unknown }
  readonly network: {
    sendRequest(to: PeerId, message: object, options: object): AsyncIterable<KadAnswer>
    sendMessage(to: PeerId, message: object, options: object): AsyncIterable<KadAnswer>
  }
}
export interface KadAnswer {
  readonly name: string
  readonly error?: Error
  readonly providers?: ReadonlyArray<{ readonly id: PeerId; readonly multiaddrs: unknown[] }>
}

export type PlainNode = Libp2p<ServiceMap & { dht: KadDHT }>

/** `createLibp2p` with `kadDHT`, as in the tutorials; `dht` and `libp2p` change what a test needs changed. */
export async function plainNode(
  scope: Scope,
  { dht = T1_CURE, libp2p = {} }: { dht?: Partial<KadDHTInit>; libp2p?: Partial<Libp2pOptions> } = {}
): Promise<PlainNode> {
  const node = (await createLibp2p({
    addresses: { listen: LISTEN },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify(), ping: ping(), dht: kadDHT({ protocol: PLAIN_KAD, ...dht }) },
    ...libp2p
  } as Libp2pOptions)) as unknown as PlainNode
  scope.defer(() => node.stop())
  return node
}

/** A node without a DHT and without a listener: somebody who only dials. */
export async function plainCaller(scope: Scope, libp2p: Partial<Libp2pOptions> = {}): Promise<Libp2p> {
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    ...libp2p
  })
  scope.defer(() => node.stop())
  return node
}

export const kadOf = (node: PlainNode): KadParts => node.services.dht as unknown as KadParts

/** What one plain node answers to GET_PROVIDERS of another, and how the request failed if it did. */
export async function askProviders(
  asker: PlainNode,
  holder: PeerId,
  key: CID
): Promise<{ readonly found: readonly string[]; readonly failed: Error | undefined }> {
  const found: string[] = []
  let failed: Error | undefined
  const question = { type: 'GET_PROVIDERS', key: key.multihash.bytes }
  for await (const answer of kadOf(asker).network.sendRequest(holder, question, {
    path: NO_PATH,
    signal: AbortSignal.timeout(10_000)
  })) {
    if (answer.name === 'QUERY_ERROR') failed = answer.error
    for (const { id } of answer.providers ?? []) found.push(id.toString())
  }
  return { found, failed }
}

/** Muster's node, in memory, on loopback. */
export async function ourNode(scope: Scope, options: Partial<Libp2pNodeOptions> = {}): Promise<Libp2pNode> {
  return scope.own(
    await createLibp2pNode({
      identity: await createIdentity(),
      network: 'traps',
      preset: 'private',
      listen: LISTEN,
      store: scope.own(memoryStore()),
      ...options
    })
  )
}

export const placeOf = (node: Libp2pNode) => ({ peerId: node.peerId, addresses: node.addresses })

export async function topicKey(name: string): Promise<{ readonly key: Uint8Array; readonly cid: CID }> {
  const { key } = await topicOf(name)
  return { key, cid: CID.decode(key) }
}

/** A clock that can be put forward for everything in this process that reads `Date.now`; timers keep their pace. */
export function shiftableTime(scope: Scope): { forward(ms: number): void } {
  const now = Date.now.bind(Date)
  let shift = 0
  const shifted = mock.method(Date, 'now', () => now() + shift)
  scope.defer(() => shifted.mock.restore())
  return {
    forward(ms) {
      shift += ms
    }
  }
}

export { Scope }
