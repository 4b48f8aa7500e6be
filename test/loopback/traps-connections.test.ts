import assert from 'node:assert/strict'
import { connect, createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { privateKeyFromProtobuf } from '@libp2p/crypto/keys'
import { KEEP_ALIVE } from '@libp2p/interface'
import { ping } from '@libp2p/ping'
import { multiaddr } from '@multiformats/multiaddr'
import { createPeer } from '../../src/peer/peer.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { createIdentity, type Identity } from '../../src/shared/node/keys.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { eventually } from '../support/eventually.ts'
import {
  askProviders,
  kadOf,
  ourNode,
  placeOf,
  plainCaller,
  plainNode,
  Scope,
  shiftableTime,
  topicKey
} from '../support/plain.ts'

const TEST = { timeout: 30_000 }

function portOf(address: { toString(): string } | undefined): number {
  return Number(/\/tcp\/(\d+)/.exec(String(address))?.[1])
}

async function silentSockets(scope: Scope, port: number, count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1').on('error', () => undefined))
  scope.defer(() => {
    for (const socket of sockets) socket.destroy()
  })
  await Promise.all(
    sockets.map(socket => new Promise(resolve => socket.once('connect', resolve).once('close', resolve)))
  )
  return sockets
}

describe('T8: a bootstrap that is away for longer than half a minute', () => {
  it('plain: a keep-alive peer is given up, and nobody redials it when it is back', TEST, async () => {
    await using scope = new Scope()
    const privateKey = privateKeyFromProtobuf((await createIdentity()).bytes)
    const away = new Scope()
    const hub = await plainNode(away, { libp2p: { privateKey } })
    const [address] = hub.getMultiaddrs()
    assert.ok(address !== undefined)
    // a tenth of the default intervals: 31.0 s of attempts become 3.1 s
    const ana = await plainNode(scope, { libp2p: { connectionManager: { reconnectRetryInterval: 100 } } })
    const gaveUp = new Promise(resolve => ana.addEventListener('peer:reconnect-failure', resolve, { once: true }))
    await ana.dial(address)
    await ana.peerStore.merge(hub.peerId, { tags: { [`${KEEP_ALIVE}-bootstrap`]: { value: 50 } } })
    await away.close()
    await gaveUp
    const { tags } = await ana.peerStore.get(hub.peerId)
    assert.deepEqual(
      [...tags.keys()].filter(tag => tag.startsWith(KEEP_ALIVE)),
      [],
      'it is no longer to be kept alive'
    )
    await plainNode(scope, {
      libp2p: { privateKey, addresses: { listen: [String(address).replace(/\/p2p\/.*/, '')] } }
    })
    assert.equal(ana.getDialQueue().length, 0)
    assert.equal(ana.getConnections().length, 0)
  })

  it('ours: a peer comes back as soon as its bootstrap does', TEST, async () => {
    await using scope = new Scope()
    const identity = await createIdentity()
    const away = new Scope()
    const hub = await ourNode(away, { identity, network: 'muster', mayBeAlone: true })
    const listen = [...hub.addresses]
    const bootstrap = [`${listen[0]}/p2p/${hub.peerId}`]
    const ana = scope.own(await createPeer({ memory: true, listen: '127.0.0.1:0', bootstrap }))
    await eventually('the peer is connected', () => ana.node.isConnected(identity.peerId))
    const problem = new Promise(resolve => ana.on('problem', resolve))
    await away.close()
    await problem // it has tried in vain by now
    await ourNode(scope, { identity, network: 'muster', mayBeAlone: true, listen })
    await eventually('the peer is connected again', () => ana.node.isConnected(identity.peerId))
  })
})

describe('T9: twelve peers of one host that connect at once', () => {
  it('plain: most are refused', TEST, async () => {
    await using scope = new Scope()
    const hub = await plainNode(scope)
    const callers = await Promise.all(Array.from({ length: 12 }, () => plainCaller(scope)))
    const dials = await Promise.allSettled(callers.map(caller => caller.dial(hub.getMultiaddrs())))
    assert.ok(dials.some(({ status }) => status === 'rejected'))
  })

  it('ours: all get in', TEST, async () => {
    await using scope = new Scope()
    const hub = await ourNode(scope, { mayBeAlone: true })
    const peers = await Promise.all(Array.from({ length: 12 }, () => ourNode(scope, { quietStartMs: 60_000 })))
    await Promise.all(peers.map(peer => peer.connect(placeOf(hub))))
    await eventually('all twelve are there', () => hub.connections().length === 12)
    for (const { peerId } of peers) assert.ok(hub.isConnected(peerId))
  })
})

describe('T13: sockets that say nothing', () => {
  it('plain: a dozen of them lock the node', TEST, async () => {
    await using scope = new Scope()
    // without its limit of 5 connections a second for each host, which would hide this one
    const hub = await plainNode(scope, { libp2p: { connectionManager: { inboundConnectionThreshold: 1_000 } } })
    const [address] = hub.getMultiaddrs()
    const honest = await plainCaller(scope)
    await silentSockets(scope, portOf(address), 12)
    await assert.rejects(honest.dial(hub.getMultiaddrs()))
  })

  it('ours: a hundred of them do not', TEST, async () => {
    await using scope = new Scope()
    const hub = await ourNode(scope, { mayBeAlone: true })
    const honest = await ourNode(scope)
    const sockets = await silentSockets(scope, portOf(hub.addresses[0]), 100)
    assert.equal(await honest.connect(placeOf(hub)), hub.peerId)
    await eventually('the silent sockets are closed', () =>
      sockets.every(socket => socket.destroyed || socket.readableEnded)
    )
  })
})

describe('T13: a node whose connections are all taken', () => {
  const MAX = 20

  it('plain: refuses every newcomer', TEST, async () => {
    await using scope = new Scope()
    const connectionManager = {
      maxConnections: MAX,
      inboundConnectionThreshold: 1_000,
      maxIncomingPendingConnections: 100
    }
    const hub = await plainNode(scope, { libp2p: { connectionManager } })
    const callers = await Promise.all(Array.from({ length: MAX }, () => plainCaller(scope)))
    await Promise.all(callers.map(caller => caller.dial(hub.getMultiaddrs())))
    await eventually('the node is full', () => hub.getConnections().length === MAX)
    const honest = await plainCaller(scope)
    await assert.rejects(honest.dial(hub.getMultiaddrs()))
  })

  it('ours: makes room by closing the youngest idle one', TEST, async () => {
    await using scope = new Scope()
    const time = shiftableTime(scope)
    const evicted: string[] = []
    const hub = await ourNode(scope, {
      mayBeAlone: true,
      maxConnections: MAX,
      onConnectionRefused: why => evicted.push(why)
    })
    const undo = hub.handle('echo/1.0.0', { maxFrameBytes: 1024, maxInboundPerConnection: 1 }, async inbound => {
      for await (const frame of inbound.frames) await inbound.send(frame)
    })
    scope.defer(undo)
    const target = hub.addresses.map(address => multiaddr(`${address}/p2p/${hub.peerId}`))
    const callers = await Promise.all(Array.from({ length: MAX }, () => plainCaller(scope)))
    await Promise.all(callers.map(caller => caller.dial(target)))
    await eventually('the node is full', () => hub.connections().length === MAX)
    time.forward(6_000) // a connection has 5 s to say what it came for
    const honest = await ourNode(scope)
    await honest.connect(placeOf(hub))
    const channel = await honest.open(hub.peerId, 'echo/1.0.0', { maxFrameBytes: 1024, first: [new Uint8Array([7])] })
    for await (const frame of channel.frames) {
      assert.deepEqual([...frame], [7])
      break
    }
    await eventually('somebody had to go', () => hub.connections().length <= MAX)
    assert.deepEqual(evicted, ['evicted'])
    assert.ok(hub.isConnected(honest.peerId), 'and it was not the one that does something')
  })
})

describe('T26: pings at the same time', () => {
  it('plain: collide', TEST, async () => {
    await using scope = new Scope()
    const hub = await plainNode(scope)
    const ana = await plainCaller(scope, { services: { ping: ping() } as never })
    await ana.dial(hub.getMultiaddrs())
    const { ping: service } = ana.services as unknown as { ping: { ping(to: typeof hub.peerId): Promise<number> } }
    const pings = await Promise.allSettled(Array.from({ length: 4 }, () => service.ping(hub.peerId)))
    assert.ok(pings.some(({ status }) => status === 'rejected'))
  })

  it('ours: do not', TEST, async () => {
    await using scope = new Scope()
    const [hub, ana] = await Promise.all([ourNode(scope), ourNode(scope)])
    await ana.connect(placeOf(hub))
    for (const rtt of await Promise.all(Array.from({ length: 4 }, () => ana.ping(hub.peerId)))) assert.ok(rtt >= 0)
  })
})

describe('T26: an address where somebody else answers', () => {
  it('plain: is named without an identity, and whoever answers is taken for the provider', TEST, async () => {
    await using scope = new Scope()
    const hub = await plainNode(scope)
    const [ana, bob, mallory] = await Promise.all([plainNode(scope), plainNode(scope), plainNode(scope)])
    for (const node of [ana, bob]) await node.dial(hub.getMultiaddrs())
    await eventually('the hub is known', () => [ana, bob].every(node => kadOf(node).routingTable.size > 0))
    const { cid } = await topicKey('t26')
    await ana.contentRouting.provide(cid, { signal: AbortSignal.timeout(10_000) })
    await eventually('bob is told', async () => (await askProviders(bob, hub.peerId, cid)).found.length === 1)
    const answers = kadOf(bob).network.sendRequest(
      hub.peerId,
      { type: 'GET_PROVIDERS', key: cid.multihash.bytes },
      { path: { index: 0, queued: 0, running: 0, total: 0 } }
    )
    for await (const { providers = [] } of answers) {
      for (const { multiaddrs } of providers) assert.ok(multiaddrs.every(address => !String(address).includes('/p2p/')))
    }
    // ana is gone, and mallory has taken over her address
    const taken = String(mallory.getMultiaddrs()[0]).replace(/\/p2p\/.*/, '')
    const connection = await bob.dial(multiaddr(taken))
    assert.equal(connection.remotePeer.toString(), mallory.peerId.toString())
  })

  it('ours: is dialled with the identity, and nobody else is accepted', TEST, async () => {
    await using scope = new Scope()
    const [bob, mallory] = await Promise.all([ourNode(scope), ourNode(scope)])
    const { peerId } = await createIdentity()
    await assert.rejects(bob.connect({ peerId, addresses: mallory.addresses }), thrown =>
      isMusterError(thrown, 'unreachable')
    )
    assert.equal(bob.isConnected(mallory.peerId), false)
  })
})

describe('T24: addresses that a stranger names', () => {
  /** A victim that never asked for anything: it counts who connects. */
  async function victim(scope: Scope): Promise<{ readonly address: string; readonly dials: () => number }> {
    let dials = 0
    const server = createServer(socket => {
      dials++
      socket.destroy()
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    scope.defer(() => new Promise(resolve => server.close(resolve)))
    const { port } = server.address() as { port: number }
    return { address: `/ip4/127.0.0.1/tcp/${port}`, dials: () => dials }
  }
  const publicNode = (scope: Scope, identity: Identity): Promise<Libp2pNode> =>
    ourNode(scope, { identity, preset: 'public' })

  it('plain: are dialled, wherever they point', TEST, async () => {
    await using scope = new Scope()
    const target = await victim(scope)
    const ana = await plainNode(scope)
    const { peerId } = await createIdentity()
    await assert.rejects(ana.dial(multiaddr(`${target.address}/p2p/${peerId}`)))
    assert.ok(target.dials() > 0)
  })

  it('ours: are not, when a public node is told of a private place or of a name', TEST, async () => {
    await using scope = new Scope()
    const target = await victim(scope)
    const ana = await publicNode(scope, await createIdentity())
    const { peerId } = await createIdentity()
    const port = portOf(target.address)
    const addresses = [
      target.address,
      `/dns/localhost/tcp/${port}`,
      `/dns4/localhost/tcp/${port}`,
      `/ip6/::1/tcp/${port}`
    ]
    await assert.rejects(ana.connect({ peerId, addresses }), thrown => isMusterError(thrown, 'unreachable'))
    await assert.rejects(ana.libp2p.dial(multiaddr(`${target.address}/p2p/${peerId}`)), 'not through libp2p either')
    assert.equal(target.dials(), 0)
  })
})
