import { peerIdFromMultihash, peerIdFromString } from '@libp2p/peer-id'
import { lpStream } from '@libp2p/utils'
import { CID } from 'multiformats/cid'
import { decode as decodeMultihash } from 'multiformats/hashes/digest'
import type { PeerId } from '../../src/shared/core/address.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { codec } from '../../src/shared/wire/codec.ts'

const GET_PROVIDERS = 3
const MAX_PROVIDERS = 64

/** What is needed here of a kad-dht message (https://github.com/libp2p/specs/tree/master/kad-dht#rpc-messages). */
const messageCodec = codec({
  type: { id: 1, type: 'uint32', required: true },
  key: { id: 2, type: 'bytes' },
  providers: { id: 9, message: codec({ id: { id: 1, type: 'bytes', required: true } }), repeated: MAX_PROVIDERS }
})

/** Whom one node names as providers: a query through the DHT would ask the others too, who hold copies. */
export async function askForProviders(
  node: Libp2pNode,
  peerId: PeerId,
  topicKey: Uint8Array,
  signal: AbortSignal
): Promise<PeerId[]> {
  const stream = await node.libp2p.dialProtocol(peerIdFromString(peerId), `/muster/${node.network}/kad/1.0.0`, {
    signal
  })
  const frames = lpStream(stream)
  const key = CID.decode(topicKey).multihash.bytes
  await frames.write(messageCodec.encode({ type: GET_PROVIDERS, key, providers: [] }), { signal })
  const { providers } = messageCodec.decode((await frames.read({ signal })).subarray())
  stream.abort(new Error('answered'))
  return providers.map(({ id }) => peerIdFromMultihash(decodeMultihash(id) as never).toString())
}
