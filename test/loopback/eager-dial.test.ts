import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, it } from 'node:test'
import { noise } from '@chainsafe/libp2p-noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import { createLibp2pNode, type Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { proposal } from '../../src/shared/node/negotiate.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'

const LISTEN = ['/ip4/127.0.0.1/tcp/0']

async function ours(): Promise<Libp2pNode> {
  const identity = await createIdentity()
  return await createLibp2pNode({ identity, network: 'eager', preset: 'private', listen: LISTEN, store: memoryStore() })
}

describe('a dial that proposes Noise and begins its handshake at once', () => {
  for (const muxer of ['named in the handshake', 'negotiated after it']) {
    it(`connects to a plain libp2p node, its muxer ${muxer}`, async () => {
      const theirNoise: ReturnType<typeof noise> = components => {
        const encrypter = noise()(components)
        const secure = encrypter.secureInbound.bind(encrypter)
        const skipStreamMuxerNegotiation = muxer === 'negotiated after it'
        encrypter.secureInbound = (stream, options) => secure(stream, { ...options, skipStreamMuxerNegotiation })
        return encrypter
      }
      const plain = await createLibp2p({
        addresses: { listen: LISTEN },
        transports: [tcp()],
        connectionEncrypters: [theirNoise],
        streamMuxers: [yamux()],
        services: { ping: ping() }
      })
      try {
        await using node = await ours()
        const [address] = plain.getMultiaddrs()
        assert.ok(address)
        const peerId = await node.connect({ address: address.toString().replace(/\/p2p\/.*/, '') })
        assert.equal(peerId, plain.peerId.toString())
        assert.ok((await node.ping(peerId)) >= 0)
      } finally {
        await plain.stop()
      }
    })
  }

  it('fails at once when the listener does not speak Noise', async () => {
    const na = new Uint8Array([3, ...new TextEncoder().encode('na\n')])
    const header = proposal('x').subarray(0, 20)
    const server = createServer(socket => {
      socket.on('error', () => undefined)
      socket.write(header)
      socket.write(na)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      await using node = await ours()
      const address = `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`
      await assert.rejects(node.connect({ address }), error => isMusterError(error, 'unreachable'))
      assert.deepEqual(node.connections(), [])
    } finally {
      server.close()
    }
  })
})
