import assert from 'node:assert/strict'
import { test } from 'node:test'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { prune } from '../../src/shared/node/forget-rumours.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import { createLibp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'

test('above the limit, peers that were only heard of are forgotten, and those that count stay', async () => {
  await using store = memoryStore()
  const identity = await createIdentity()
  const listen = ['/ip4/127.0.0.1/tcp/0']
  await using node = await createLibp2pNode({ identity, network: 'rumours', preset: 'private', listen, store })
  const heardOf = async (): Promise<string> => {
    const { peerId } = await createIdentity()
    await node.libp2p.peerStore.merge(peerIdFromString(peerId), { multiaddrs: [multiaddr('/ip4/127.0.0.1/tcp/9')] })
    return peerId
  }
  const rumours = await Promise.all(Array.from({ length: 10 }, heardOf))
  const inTable = await heardOf()
  await node.libp2p.peerStore.merge(peerIdFromString(inTable), { tags: { 'kad-peer': { value: 1 } } })
  const provider = await heardOf()
  const isProvider = (peerId: string): boolean => peerId === provider

  assert.equal(await prune(node.libp2p, { isProvider }, 20), 0, 'below the limit nobody goes')
  assert.equal(await prune(node.libp2p, { isProvider }, 5), rumours.length)
  const left = (await node.libp2p.peerStore.all()).map(({ id }) => id.toString())
  assert.deepEqual(new Set(left.filter(id => id !== node.peerId)), new Set([inTable, provider]))
})
