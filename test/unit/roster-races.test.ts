import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { PeerId } from '../../src/shared/core/address.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { FakeNode } from '../../src/shared/node/fake-node.ts'
import {
  GOODBYE_GRACE_MS,
  HELLO_TIMEOUT_MS,
  MAX_TOPIC_STREAMS_PER_CONNECTION,
  RECORD_VALIDITY_MS
} from '../../src/shared/roster/limits.ts'
import { OwnRecords } from '../../src/shared/roster/own.ts'
import { peekRecord } from '../../src/shared/roster/record.ts'
import type { RosterMetrics } from '../../src/shared/roster/roster.ts'
import { RosterRows } from '../../src/shared/roster/rows.ts'
import { Suspects } from '../../src/shared/roster/suspects.ts'
import { RosterTable } from '../../src/shared/roster/table.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { MAX_TOPIC_FRAME_BYTES, TOPIC_PROTOCOL, topicFrameCodec } from '../../src/shared/wire/topic.ts'
import { type FakePeer, Village } from '../support/fake-peer.ts'
import { madeUpRecord } from '../support/fake-stranger.ts'

const lobby = await topicOf('lobby')

async function meet(village: Village, peers: readonly FakePeer[]): Promise<void> {
  await village.until('all see all', 30_000, () => peers.every(({ sees }) => sees().length === peers.length - 1))
}

describe('own records', () => {
  it('leave a goodbye the last word when a renewal is being signed meanwhile', async () => {
    await using village = new Village()
    const gate = Promise.withResolvers<void>()
    let isSlow = false
    const node = {
      peerId: 'self',
      addresses: [],
      seal: async (_domain: string, payload: Uint8Array) => {
        if (isSlow) await gate.promise
        return payload
      }
    }
    const own = new OwnRecords(node, village.clock, RECORD_VALIDITY_MS)
    await own.enter(lobby.key, undefined)
    isSlow = true
    const renewing = own.renew(lobby.id)
    isSlow = false
    const goodbye = await own.leave(lobby.id)
    gate.resolve()
    assert.equal(await renewing, undefined)
    assert.equal(own.get(lobby.id), undefined)
    assert.equal(own.farewell(lobby.id), goodbye)
  })

  it('are told to whoever asks while the goodbye is being signed', async () => {
    await using village = new Village()
    const seal = async (_domain: string, payload: Uint8Array): Promise<Uint8Array> => payload
    const own = new OwnRecords({ peerId: 'self', addresses: [], seal }, village.clock, RECORD_VALIDITY_MS)
    await own.enter(lobby.key, undefined)
    const leaving = own.leave(lobby.id)
    const lastWord = own.lastWord(lobby.id)
    assert.equal(await lastWord, await leaving)
    assert.ok((await lastWord)?.left)
  })
})

it('a member that is not to be reached is lost after what came while we were busy was read', async () => {
  await using village = new Village()
  const { clock } = village
  const table = new RosterTable()
  const member = peekRecord(await madeUpRecord(village, 'bob'))
  table.apply(member, { kind: 'direct' })
  const order: string[] = []
  const lost = Promise.withResolvers<void>()
  const suspects = new Suspects({
    node: { isConnected: () => false, connect: () => Promise.reject(new MusterError('unreachable')) },
    table,
    clock,
    signal: new AbortController().signal,
    greet: () => Promise.resolve(),
    lose: () => {
      order.push('lost')
      lost.resolve()
    }
  })
  suspects.check(member.peerId)
  await setImmediate()
  setImmediate().then(() => order.push('read'))
  clock.advanceTo(clock.now() + GOODBYE_GRACE_MS)
  await lost.promise
  assert.deepEqual(order, ['read', 'lost'])
})

describe('a roster', () => {
  it('opens one stream to a neighbour, however many topics want it at once', async () => {
    await using village = new Village()
    const bootstrap = await village.bootstrap()
    const ana = await village.peer({ bootstrap: [bootstrap.address] })
    const bob = await village.peer({ bootstrap: [bootstrap.address] })
    const topics = Array.from({ length: 4 * MAX_TOPIC_STREAMS_PER_CONNECTION }, (_, number) => `topic ${number}`)
    await Promise.all(topics.flatMap(topic => [ana.join(topic), bob.join(topic)]))
    await village.until('they meet in all, nobody asked twice', 500, () =>
      topics.every(topic => ana.sees(topic).length === 1)
    )
  })

  it('does not lose a neighbour because somebody stopped waiting for its answer', async () => {
    await using village = new Village()
    const bootstrap = await village.bootstrap()
    const ana = await village.peer({ bootstrap: [bootstrap.address] })
    await ana.join()
    await village.pass(1_000)
    const ended: string[] = []
    ana.roster.on('unlinked', ({ peerId }) => ended.push(peerId))
    const other = await topicOf('attic')
    const impatient = new AbortController()
    const first = ana.roster.greet(bootstrap.node.peerId, other, impatient.signal)
    const second = ana.roster.greet(bootstrap.node.peerId, other)
    impatient.abort()
    await assert.rejects(first)
    await village.pass(1_000)
    await second
    assert.deepEqual(ended, [])
  })

  it('hears at once that a peer it asks is not in the topic', async () => {
    await using village = new Village()
    const [ana, bob] = [await village.peer(), await village.peer()]
    await ana.join()
    await Promise.all([ana.node.connect({ peerId: bob.peerId, addresses: [bob.address] }), village.pass(100)])
    const start = village.clock.now()
    const asked = assert.rejects(ana.roster.greet(bob.peerId, lobby), { code: 'not-a-member' })
    await village.pass(HELLO_TIMEOUT_MS / 2)
    await asked
    assert.ok(village.clock.now() - start < HELLO_TIMEOUT_MS)
  })

  it('says goodbye also to a neighbour whose stream was being opened while it left', async () => {
    await using village = new Village()
    const [ana, bob] = [await village.peer(), await village.peer()]
    await bob.join()
    await Promise.all([ana.node.connect({ peerId: bob.peerId, addresses: [bob.address] }), village.pass(100)])
    await ana.roster.enter(lobby, undefined)
    const greeting = ana.roster.greet(bob.peerId, lobby).catch(() => undefined)
    await Promise.all([ana.roster.exit(lobby.id, []), village.pass(1_000), greeting])
    assert.deepEqual(bob.sees(), [])
    assert.deepEqual(bob.roster.members(lobby.id), [])
  })

  it('brings a member back whose clock went back by minutes', async () => {
    for (const clockSkewMs of [-60_000, -4 * 60_000]) {
      await using village = new Village()
      const bootstrap = await village.bootstrap()
      const known = { bootstrap: [bootstrap.address] }
      const ana = await village.peer(known)
      const bob = await village.peer(known)
      await Promise.all([ana.join(), bob.join()])
      await meet(village, [ana, bob])
      await bob.close()
      await village.until('bob left', 5_000, () => ana.sees().length === 0)
      const again = await village.peer({ ...known, identity: bob.identity, address: bob.address, clockSkewMs })
      await again.join()
      await meet(village, [ana, again])
      assert.equal(ana.told().filter(({ event }) => event === 'member').length, 2)
    }
  })

  it('does not believe that a member is lost while it answers, and tells who said so', async () => {
    await using village = new Village()
    const bootstrap = await village.bootstrap()
    const peers = [1, 2, 3].map(() => village.peer({ bootstrap: [bootstrap.address] }))
    const [ana, bob, cy] = await Promise.all(peers)
    assert.ok(ana !== undefined && bob !== undefined && cy !== undefined)
    await Promise.all([ana, bob, cy].map(peer => peer.join()))
    await meet(village, [ana, bob, cy])
    const channel = await raced(
      village,
      ana.node.open(bob.peerId, TOPIC_PROTOCOL, { maxFrameBytes: MAX_TOPIC_FRAME_BYTES })
    )
    const said: string[] = []
    void (async () => {
      for await (const bytes of channel.frames) said.push(...Object.keys(topicFrameCodec.decode(bytes)))
    })().catch(() => undefined)
    await channel.send(topicFrameCodec.encode({ lost: { topic: lobby.key, peerId: cy.peerId } }))
    await village.pass(20_000)
    assert.deepEqual(said, ['update'])
    assert.equal(bob.told().filter(({ event }) => event === 'left').length, 0)
  })

  it('looks after those that a member vouched for when it has left', async () => {
    await using village = new Village()
    const bootstrap = await village.bootstrap()
    const ana = await village.peer({ bootstrap: [bootstrap.address] })
    const bob = await village.peer({ bootstrap: [ana.address] }) // known to the bootstrap through ana alone
    await Promise.all([ana.join(), bob.join()])
    await meet(village, [ana, bob])
    village.network.partition([bob.node], [ana.node, bootstrap.node])
    await bob.kill()
    await ana.group()?.leave()
    await village.pass(30_000)
    assert.deepEqual(bootstrap.roster.members(lobby.id), [])
  })

  it('loses a member whose network was cut within 30 s, in however many topics', async () => {
    await using village = new Village()
    const bootstrap = await village.bootstrap()
    const ana = await village.peer({ bootstrap: [bootstrap.address] })
    const bob = await village.peer({ bootstrap: [bootstrap.address] })
    const topics = Array.from({ length: 10 }, (_, number) => `topic ${number}`)
    await Promise.all(topics.flatMap(topic => [ana.join(topic), bob.join(topic)]))
    await village.until('they meet in all', 5_000, () => topics.every(topic => ana.sees(topic).length === 1))
    village.network.partition([bob.node], [ana.node, bootstrap.node])
    await village.until('bob is lost in all', 30_000, () => topics.every(topic => ana.sees(topic).length === 0))
    assert.equal(bootstrap.roster.counts.members, topics.length)
    for (const topic of topics) {
      assert.deepEqual(
        ana.told(topic).map(({ event, detail }) => [event, detail]),
        [
          ['member', true],
          ['left', 'lost']
        ]
      )
    }
  })

  it('does not vouch to a neighbour for what it knows from it alone', async () => {
    await using village = new Village()
    const bootstrap = await village.bootstrap()
    const ana = await village.peer({ bootstrap: [bootstrap.address] })
    const bob = await village.peer({ bootstrap: [ana.address] })
    await Promise.all([ana.join(), bob.join()])
    await meet(village, [ana, bob])
    const heard: boolean[] = []
    ana.roster.on('heard', ({ isVouched }) => heard.push(isVouched))
    village.network.partition([bob.node], [ana.node, bootstrap.node])
    await ana.group()?.leave()
    await ana.join()
    await village.pass(100)
    assert.deepEqual(heard, [false])
  })

  it('shares topics with another bootstrap again after their stream broke', async () => {
    await using village = new Village()
    const first = await village.bootstrap()
    const second = await village.bootstrap({ bootstrap: [first.address] })
    const ana = await village.peer({ bootstrap: [second.address] })
    await ana.join()
    await village.pass(2_000)
    assert.equal(first.roster.members(lobby.id).length, 1)
    const { node } = second
    assert.ok(node instanceof FakeNode)
    const streams = () => node.ends().flatMap(end => (end.peerId === first.node.peerId ? [...end.channels] : []))
    assert.equal(streams().length, 1)
    for (const stream of streams()) stream.abort(new MusterError('closed'))
    await village.pass(5_000)
    assert.equal(streams().length, 1)
    const bob = await village.peer({ bootstrap: [first.address] })
    await bob.join()
    await meet(village, [ana, bob])
  })

  it('shares thousands of topics with another bootstrap, no faster than that reads', { timeout: 60_000 }, async () => {
    await using village = new Village()
    const rejected: string[] = []
    const metrics: RosterMetrics = {
      increment: (name, labels) => {
        if (name === 'muster_topic_rejected_total') rejected.push((labels as { readonly reason: string }).reason)
      }
    }
    const store = memoryStore()
    const rows = new RosterRows(store.datastore)
    const topics = await Promise.all(Array.from({ length: 2_500 }, (_, number) => topicOf(`topic ${number}`)))
    const members = await Promise.all(Array.from({ length: 20 }, () => village.peer()))
    for (const [number, topic] of topics.entries()) {
      const { roster } = members[number % members.length] as FakePeer
      await roster.enter(topic, undefined)
      await rows.put(peekRecord(roster.own(topic.id) as Uint8Array))
    }
    const first = await village.bootstrap({ metrics })
    const second = await village.bootstrap({ bootstrap: [first.address], store, metrics })
    const ended: PeerId[] = []
    second.roster.on('unlinked', ({ peerId }) => ended.push(peerId))
    await village.until('all are shared', 60_000, () => first.roster.topics().length === topics.length)
    await village.pass(60_000)
    assert.equal(first.roster.topics().length, topics.length)
    assert.deepEqual([ended, rejected], [[], []])
  })

  it('keeps addresses of members long gone, for a start at which nobody else is left', async () => {
    await using village = new Village()
    const bootstrap = await village.bootstrap()
    const ana = await village.peer({ bootstrap: [bootstrap.address] })
    const bob = await village.peer({ bootstrap: [bootstrap.address] })
    await Promise.all([ana.join(), bob.join()])
    await meet(village, [ana, bob])
    await bootstrap.close()
    await Promise.all([ana.close(), bob.close()])
    await village.pass(2 * 86_400_000)
    const back = ({ identity, address, store }: FakePeer) =>
      village.peer({ identity, address, store, bootstrap: [bootstrap.address] })
    const [first, second] = [await back(ana), await back(bob)]
    await Promise.all([first.join(), second.join()])
    await meet(village, [first, second])
  })
})

/** What needs simulated time to pass before it is there. */
async function raced<T>(village: Village, wanted: Promise<T>): Promise<T> {
  await village.pass(100)
  return await wanted
}
