import { connect, type Socket } from 'node:net'
import type { Libp2p, PeerId, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { encode as varint } from 'uint8-varint'
import type { Group } from '../../src/peer/api.ts'
import type { Scope } from '../../src/shared/core/lifecycle.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { codec } from '../../src/shared/wire/codec.ts'
import { eventually } from './eventually.ts'
import { plainCaller } from './plain.ts'

// What a stranger can say who speaks the lower layers properly and means harm above them.

/** Bytes from a seed: the same garbage in every run. */
export function garbage(seed: number, length: number): Uint8Array {
  const random = seededRandom(seed)
  return Uint8Array.from({ length }, () => Math.floor(random() * 256))
}

/** TCP sockets to a node that are open when this resolves. */
export async function sockets(scope: Scope, node: Libp2pNode, count: number): Promise<Socket[]> {
  const [address = ''] = node.addresses
  const port = Number(/\/tcp\/(\d+)/.exec(address)?.[1])
  const all = Array.from({ length: count }, () =>
    connect(port, '127.0.0.1')
      .on('error', () => undefined)
      .resume()
  )
  scope.defer(() => {
    for (const socket of all) socket.destroy()
  })
  await Promise.all(all.map(socket => new Promise(resolve => socket.once('connect', resolve).once('close', resolve))))
  return all
}

export const targetOf = (node: Libp2pNode) => multiaddr(`${node.addresses[0]}/p2p/${node.peerId}`)

/** A libp2p node that is connected to `victim` and has nothing of Muster's. */
export async function stranger(scope: Scope, victim: Libp2pNode): Promise<Libp2p> {
  const caller = await plainCaller(scope)
  await caller.dial(targetOf(victim))
  return caller
}

/** A stream of one of Muster's protocols, without anything of Muster's on this end. */
export async function rawStream(from: Libp2p, to: Libp2pNode, protocol: string): Promise<Stream> {
  const stream = await from.dialProtocol(targetOf(to), `/muster/${to.network}/${protocol}`, {
    maxOutboundStreams: 1_000
  })
  stream.addEventListener('message', () => undefined) // what is answered does not matter, but is read
  return stream
}

export const dhtStream = (from: Libp2p, to: Libp2pNode): Promise<Stream> => rawStream(from, to, 'kad/1.0.0')

/** Sends all `bytes`, in pieces that the stream takes, until it is gone. */
export function pour(stream: Stream, bytes: Uint8Array): void {
  try {
    stream.send(bytes)
  } catch {
    // it was reset meanwhile: what the tests want to see
  }
}

export async function isReset(stream: Stream, why: string): Promise<void> {
  await eventually(
    `the stream is broken off: ${why}`,
    () => stream.status === 'reset' || stream.status === 'closed' || stream.status === 'aborted'
  )
}

const kadPeer = codec({ id: { id: 1, type: 'bytes' }, multiaddrs: { id: 2, type: 'bytes', repeated: 100_000 } })
const kadMessage = codec({
  type: { id: 1, type: 'uint32' },
  key: { id: 2, type: 'bytes' },
  providers: { id: 9, message: kadPeer, repeated: 10_000 }
})
const ADD_PROVIDER = 2

/** ADD_PROVIDER for `key` in the name of `provider`, who claims `count` addresses; length prefix included. */
export function addProviderFrame(key: Uint8Array, provider: PeerId, count: number): Uint8Array {
  const multiaddrs = Array.from(
    { length: count },
    (_, i) => multiaddr(`/ip4/127.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}/tcp/${1_024 + (i % 60_000)}`).bytes
  )
  const message = kadMessage.encode({
    type: ADD_PROVIDER,
    key,
    providers: [{ id: provider.toMultihash().bytes, multiaddrs }]
  })
  const prefix = varint(message.length)
  const frame = new Uint8Array(prefix.length + message.length)
  frame.set(prefix)
  frame.set(message, prefix.length)
  return frame
}

/** Fails the test when a message between two members does not come with its receipt. */
export async function exchange(from: Group, to: Group, toId: string, text: string): Promise<void> {
  const heard = Promise.withResolvers<unknown>()
  const undo = to.on('message', ({ value }) => {
    if (value === text) heard.resolve(value)
  })
  try {
    await from.send(toId, text)
    await heard.promise
  } finally {
    undo()
  }
}
