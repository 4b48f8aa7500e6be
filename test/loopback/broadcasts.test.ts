import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createBootstrap } from '../../src/bootstrap/bootstrap.ts'
import type { Value } from '../../src/peer/api.ts'
import { createPeer } from '../../src/peer/peer.ts'
import { testnet } from '../../src/testnet.ts'
import { crier, SQUARE, texts } from '../support/criers.ts'
import { eventually } from '../support/eventually.ts'
import { ourNode, placeOf, Scope } from '../support/plain.ts'
import { allMeet, type Seat, sit } from '../support/topics.ts'

const TEST = { timeout: 60_000 }

/** What came as broadcasts. */
const heard = ({ messages }: Seat): Value[] =>
  messages.filter(({ via }) => via === 'broadcast').map(({ value }) => value)

async function room(net: Awaited<ReturnType<typeof testnet>>, count: number): Promise<Seat[]> {
  const seats = await Promise.all(Array.from({ length: count }, async () => await sit(await net.createPeer())))
  await allMeet(seats)
  await eventually('the mesh is there', () =>
    seats.every(({ peer, group }) => peer.node.gossip.neighbours(group.topicId).length === count - 1)
  )
  return seats
}

describe('a broadcast', () => {
  it('reaches every member once, and not the one that said it', TEST, async () => {
    await using net = await testnet()
    const seats = await room(net, 5)
    const [ana, ...others] = seats
    assert.ok(ana !== undefined)
    const values: Value[] = ['hello', '', 0, false, null, { deep: [1, 2, { x: 'y' }] }, Uint8Array.of(1, 2, 3)]
    const sequences: number[] = []
    for (const value of values) {
      const { sequence, id, peers, acknowledged } = await ana.group.broadcast(value)
      assert.equal(id, `b${sequence}`)
      assert.ok(peers > 0)
      assert.deepEqual(acknowledged, [])
      sequences.push(sequence)
    }
    assert.deepEqual(
      sequences,
      [...new Set(sequences)].toSorted((a, b) => a - b),
      'they count up'
    )
    await eventually('all of it is everywhere', () => others.every(seat => heard(seat).length === values.length))
    for (const seat of others) {
      const ids = seat.messages.map(({ id }) => id)
      assert.deepEqual(
        ids,
        sequences.map(sequence => `b${sequence}`)
      )
      assert.deepEqual(heard(seat), values)
      assert.ok(seat.messages.every(({ from, topic }) => from === ana.peerId && topic === 'lobby'))
    }
    assert.deepEqual(heard(ana), [])
  })

  it('is acknowledged by those whose application took it', TEST, async () => {
    await using net = await testnet()
    const [ana, ben] = await room(net, 2)
    assert.ok(ana !== undefined && ben !== undefined)
    const deaf = await net.createPeer()
    await deaf.join('lobby')
    await eventually(
      'ana has both for neighbours',
      () => ana.peer.node.gossip.neighbours(ana.group.topicId).length === 2
    )
    await eventually('and lists both', () => ana.group.members().length === 2)
    const { peers, acknowledged } = await ana.group.broadcast('who is there?', { ackMs: 1_000 })
    assert.equal(peers, 2)
    assert.deepEqual(acknowledged, [ben.peerId])
    deaf.groups[0]?.on('message', () => undefined)
    const all = await ana.group.broadcast('and now?', { ackMs: 30_000 })
    assert.deepEqual(all.acknowledged.toSorted(), [ben.peerId, deaf.peerId].toSorted())
  })

  it('to nobody is no error', TEST, async () => {
    await using net = await testnet()
    const ana = await sit(await net.createPeer())
    const { peers, acknowledged } = await ana.group.broadcast('anybody?', { ackMs: 1 })
    assert.deepEqual([peers, acknowledged], [0, []])
  })
})

describe('--keep', () => {
  for (const program of ['bootstrap', 'peer'] as const) {
    it(`makes a ${program} pass on broadcasts of a topic it has not joined, and of no other`, TEST, async () => {
      await using scope = new Scope()
      const settings = { memory: true, listen: '127.0.0.1:0', bootstrap: [], http: 'off', keep: [SQUARE.name] }
      const keeper = scope.own(await (program === 'bootstrap' ? createBootstrap(settings) : createPeer(settings)))
      const idle = scope.own(await createBootstrap({ ...settings, keep: [] }))
      const [ana, ben] = await Promise.all(
        Array.from({ length: 2 }, async () => await crier(scope, await ourNode(scope, { network: 'muster' })))
      )
      assert.ok(ana !== undefined && ben !== undefined)
      for (const { node } of [ana, ben]) {
        for (const other of [keeper.node, idle.node]) await node.connect(placeOf(other))
      }
      await eventually('both are its neighbours', () => keeper.node.gossip.neighbours(SQUARE.id).length === 2)
      await ana.say('by way of the keeper')
      await eventually('ben hears it', () => texts(ben).length === 1)
      assert.equal(idle.node.gossip.running, undefined, 'who keeps nothing does not even load it')
    })
  }
})
