import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MusterError } from '../../src/shared/core/errors.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { eventually } from '../support/eventually.ts'
import {
  addressOf,
  bytes,
  connected,
  echo,
  firstAddress,
  HANDLING,
  LIMITS,
  type NodeHarness,
  nodes,
  PROTOCOL,
  rejectsWith,
  roundTrip,
  TEST,
  take,
  text
} from './node-words.ts'

/** How nodes connect, notice each other and part. */
export function connectionContract(make: () => Promise<NodeHarness>): void {
  describe('connections', () => {
    it('proves the identity on both sides', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await nodes(net, 2)
      assert.notEqual(ana.peerId, bob.peerId)
      assert.equal(await ana.connect(addressOf(bob)), bob.peerId)
      await eventually('bob sees ana', () => bob.isConnected(ana.peerId))
      assert.equal(ana.isConnected(bob.peerId), true)
      assert.deepEqual(
        ana.connections().map(({ peerId, inbound }) => ({ peerId, inbound })),
        [{ peerId: bob.peerId, inbound: false }]
      )
      assert.deepEqual(
        bob.connections().map(({ peerId, inbound }) => ({ peerId, inbound })),
        [{ peerId: ana.peerId, inbound: true }]
      )
    })

    it('learns the identity behind an address that names none', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await nodes(net, 2)
      assert.equal(await ana.connect({ address: firstAddress(bob) }), bob.peerId)
      assert.equal(await ana.connect({ address: firstAddress(bob), peerId: bob.peerId }), bob.peerId)
      assert.equal(await ana.connect({ peerId: bob.peerId, addresses: [] }), bob.peerId)
      assert.equal(ana.connections().length, 1)
    })

    it('closes the connection to somebody who was not expected at a place, and no other', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await nodes(net, 2)
      const place = { address: firstAddress(bob) }
      const answered: string[] = []
      const check = (peerId: string): void => {
        answered.push(peerId)
        throw new MusterError('refused', 'somebody else')
      }
      await rejectsWith('refused', ana.connect(place, { check }))
      await eventually('nothing is left', () => !ana.isConnected(bob.peerId) && !bob.isConnected(ana.peerId))
      await ana.connect(addressOf(bob))
      await eventually('bob sees ana', () => bob.isConnected(ana.peerId))
      const gone: string[] = []
      for (const node of [ana, bob]) node.on('disconnect', ({ peerId }) => gone.push(peerId))
      await rejectsWith('refused', ana.connect(place, { check }))
      assert.deepEqual(answered, [bob.peerId, bob.peerId])
      await eventually('one connection is left', () => [ana, bob].every(node => node.connections().length === 1))
      bob.handle(PROTOCOL, HANDLING, echo)
      assert.equal(await roundTrip(ana, bob, 'over the first'), 'over the first')
      assert.deepEqual(gone, [])
      assert.equal(await ana.connect(place, { check: () => undefined }), bob.peerId)
    })

    it('shows addresses without a peer id', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await nodes(net, 2)
      await ana.connect(addressOf(bob))
      await eventually('bob sees ana', () => bob.isConnected(ana.peerId))
      const shown = [
        ...ana.addresses,
        ...bob.addresses,
        ...[...ana.connections(), ...bob.connections()].map(c => c.address)
      ]
      assert.ok(shown.length >= 4)
      for (const address of shown) assert.doesNotMatch(address, /\/p2p\//)
      for (const address of shown) assert.match(address, /^\/ip[46]\/[^/]+\/tcp\/\d+/)
    })

    it('refuses somebody else at the address', TEST, async () => {
      await using net = await make()
      const [ana, bob, eve] = await nodes(net, 3)
      await rejectsWith('unreachable', ana.connect({ peerId: bob.peerId, addresses: eve.addresses }))
      await rejectsWith('unreachable', ana.connect({ peerId: bob.peerId, address: firstAddress(eve) }))
      assert.equal(ana.isConnected(bob.peerId), false)
    })

    it('takes the address that works', TEST, async () => {
      await using net = await make()
      const [ana, bob, gone] = await nodes(net, 3)
      const dead = gone.addresses
      await gone.close()
      assert.equal(await ana.connect({ peerId: bob.peerId, addresses: [...dead, ...bob.addresses] }), bob.peerId)
    })

    it('says unreachable when nobody is there', TEST, async () => {
      await using net = await make()
      const [ana, gone] = await nodes(net, 2)
      const [dead, peerId] = [addressOf(gone), gone.peerId]
      await gone.close()
      await rejectsWith('unreachable', ana.connect(dead))
      await rejectsWith('unreachable', ana.connect({ peerId, addresses: [] }))
    })

    it('stops a connect on abort and on time-out, by code', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await nodes(net, 2)
      await rejectsWith('aborted', ana.connect(addressOf(bob), { signal: AbortSignal.abort() }))
      const reason = new MusterError('timed-out', 'enough')
      await rejectsWith('timed-out', ana.connect(addressOf(bob), { signal: AbortSignal.abort(reason) }))
      const late = new DOMException('enough', 'TimeoutError')
      await rejectsWith('timed-out', ana.connect(addressOf(bob), { signal: AbortSignal.abort(late) }))
    })

    it('survives two connects that cross, and says connect once on each side', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await nodes(net, 2)
      const heard: string[] = []
      ana.on('connect', ({ peerId }) => heard.push(`ana: ${peerId}`))
      bob.on('connect', ({ peerId }) => heard.push(`bob: ${peerId}`))
      await Promise.all([ana.connect(addressOf(bob)), bob.connect(addressOf(ana)), ana.connect(addressOf(bob))])
      await eventually('both are connected', () => ana.isConnected(bob.peerId) && bob.isConnected(ana.peerId))
      bob.handle(PROTOCOL, HANDLING, echo)
      assert.equal(await roundTrip(ana, bob, 'through either'), 'through either')
      assert.deepEqual(heard.toSorted(), [`ana: ${bob.peerId}`, `bob: ${ana.peerId}`])
    })

    it('says disconnect once on each side', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await nodes(net, 2)
      const heard: string[] = []
      const wasConnected: boolean[] = [] // then: whether the other is alive is found out by dialling it
      for (const [name, node] of Object.entries({ ana, bob })) {
        node.on('disconnect', ({ peerId }) => {
          heard.push(`${name}: ${peerId}`)
          wasConnected.push(node.isConnected(peerId))
        })
      }
      await ana.connect(addressOf(bob))
      await eventually('bob sees ana', () => bob.isConnected(ana.peerId))
      await ana.disconnect(bob.peerId)
      await eventually('both know', () => heard.length === 2)
      assert.deepEqual(heard.toSorted(), [`ana: ${bob.peerId}`, `bob: ${ana.peerId}`])
      assert.deepEqual(wasConnected, [false, false])
      assert.equal(await ana.connect(addressOf(bob)), bob.peerId)
      assert.equal(heard.length, 2)
    })

    it('measures a round trip, and only to a peer that is connected', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await nodes(net, 2)
      await ana.connect(addressOf(bob))
      const rtts = await Promise.all([ana.ping(bob.peerId), ana.ping(bob.peerId)])
      for (const rtt of rtts) assert.ok(rtt >= 0 && Number.isFinite(rtt))
      await ana.disconnect(bob.peerId)
      await assert.rejects(ana.ping(bob.peerId))
    })

    it('notices a peer that died without a goodbye', TEST, async t => {
      await using net = await make()
      if (net.kill === undefined) return t.skip('cannot kill a node')
      const [ana, bob] = await nodes(net, 2)
      bob.handle(PROTOCOL, HANDLING, echo)
      await ana.connect(addressOf(bob))
      const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      const target = addressOf(bob)
      await net.kill(bob)
      await eventually('ana sees bob gone', () => !ana.isConnected(target.peerId), { withinMs: 40_000 })
      await eventually('the channel is gone', () => channel.signal.aborted)
      await rejectsWith('unreachable', ana.connect(target))
      return undefined
    })
  })

  describe('closing', () => {
    it('aborts the signal, ends what is open, frees the address, and may be called again', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const served = Promise.withResolvers<Channel>()
      bob.handle(PROTOCOL, HANDLING, far => served.resolve(far))
      await ana.open(bob.peerId, PROTOCOL, LIMITS)
      const inbound = await served.promise
      const address = firstAddress(bob)
      const closing = bob.close()
      assert.equal(bob.signal.aborted, true)
      await closing
      await bob.close()
      assert.equal(inbound.signal.aborted, true)
      assert.deepEqual(bob.connections(), [])
      await eventually('ana sees bob gone', () => !ana.isConnected(bob.peerId))
      await rejectsWith('closed', bob.connect(addressOf(ana)))
      await rejectsWith('closed', bob.open(ana.peerId, PROTOCOL, LIMITS))
      const again = await net.createNode({ address })
      assert.equal(await ana.connect({ address }), again.peerId)
    })

    it('refuses an address in use', TEST, async () => {
      await using net = await make()
      const [ana] = await nodes(net, 1)
      await rejectsWith('port-in-use', net.createNode({ address: firstAddress(ana) }))
    })

    it('lets a last word through', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const heard = Promise.withResolvers<string[]>()
      bob.handle(PROTOCOL, HANDLING, async far => {
        try {
          heard.resolve((await take(far, 2)).map(text))
        } catch (thrown) {
          heard.reject(thrown)
        }
      })
      const channel = await ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [bytes('hello')] })
      await channel.send(bytes('goodbye'))
      await channel.close()
      await ana.close()
      assert.deepEqual(await heard.promise, ['hello', 'goodbye'])
    })

    it('lets what was sent through to a reader that is still busy when the connection goes', TEST, async () => {
      await using net = await make()
      const [ana, bob] = await connected(net)
      const heard = Promise.withResolvers<number[]>()
      bob.handle(PROTOCOL, HANDLING, async far => {
        const sizes: number[] = []
        try {
          for await (const frame of far.frames) {
            sizes.push(frame.length)
            if (sizes.length === 1) await eventually('ana is gone', () => !bob.isConnected(ana.peerId))
          }
          heard.resolve(sizes)
        } catch (thrown) {
          heard.reject(thrown)
        }
      })
      const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
      for (const size of [263_000, 140_000, 2_000]) await channel.send(new Uint8Array(size))
      await channel.close()
      await ana.close()
      assert.deepEqual(await heard.promise, [263_000, 140_000, 2_000])
    })
  })
}
