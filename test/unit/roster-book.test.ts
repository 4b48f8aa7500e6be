import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { topicOf } from '../../src/shared/core/topic.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { MAX_ADDRESS_BOOK, MAX_RECORD_VALIDITY_MS } from '../../src/shared/roster/limits.ts'
import { peekRecord, signRecord } from '../../src/shared/roster/record.ts'
import { RosterRows } from '../../src/shared/roster/rows.ts'
import { MAX_TOPIC_FRAME_BYTES, TOPIC_PROTOCOL, type TopicFrame, topicFrameCodec } from '../../src/shared/wire/topic.ts'
import { type FakePeer, plainSeal, Village } from '../support/fake-peer.ts'

const lobby = await topicOf('lobby')

/** Whose rows a peer has on its disk. */
async function rowsOf({ store }: FakePeer): Promise<string[]> {
  return await Array.fromAsync(new RosterRows(store.datastore).all(), ({ envelope }) => peekRecord(envelope).peerId)
}

async function envelopeOf(village: Village, peerId: string): Promise<Uint8Array> {
  const now = village.clock.now()
  const signer = { peerId, seal: (_domain: string, payload: Uint8Array) => plainSeal(peerId, payload) }
  const times = { sequence: now, issuedMs: now, expiresMs: now + MAX_RECORD_VALIDITY_MS }
  const { envelope } = await signRecord(signer, {
    ...{ topicKey: lobby.key, ...times, name: undefined, left: false },
    addresses: ['/ip4/10.99.0.1/tcp/1']
  })
  return envelope
}

/** A topic stream from somebody who says what it likes. */
async function linkTo(village: Village, victim: FakePeer, isMember: boolean): Promise<Channel> {
  const { node } = await village.peer()
  const connecting = node.connect({ peerId: victim.peerId, addresses: [victim.address] })
  await village.pass(200)
  await connecting
  const opening = node.open(victim.peerId, TOPIC_PROTOCOL, { maxFrameBytes: MAX_TOPIC_FRAME_BYTES })
  await village.pass(200)
  const channel = await opening
  void (async () => {
    for await (const _answer of channel.frames);
  })().catch(() => undefined)
  const own = isMember ? { envelope: await envelopeOf(village, node.peerId) } : {}
  await channel.send(topicFrameCodec.encode({ hello: { topic: lobby.key, ...own } }))
  return channel
}

describe('the rows of a peer', () => {
  for (const [who, isMember] of [
    ['a stranger', false],
    ['a member', true]
  ] as const) {
    it(`are few, however many ${who} makes up and calls lost`, { timeout: 60_000 }, async () => {
      await using village = new Village()
      const [ana, bob] = [await village.peer(), await village.peer()]
      await Promise.all([ana.join(), bob.join()])
      const meeting = ana.node.connect({ peerId: bob.peerId, addresses: [bob.address] })
      await village.pass(100)
      await Promise.all([meeting, ana.roster.greet(bob.peerId, lobby), village.pass(100)])
      let heard = 0
      ana.roster.on('heard', () => heard++)
      const channel = await linkTo(village, ana, isMember)
      const say = (frame: TopicFrame): Promise<void> => channel.send(topicFrameCodec.encode(frame))
      for (let count = 0; count < 2_000; count++) {
        const peerId = `made up ${count}`
        await say({ update: { topic: lobby.key, envelope: await envelopeOf(village, peerId) } })
        await say({ lost: { topic: lobby.key, peerId } })
        if (count % 100 === 99) await village.pass(1_000) // 200 frames a second
      }
      assert.equal(channel.signal.aborted, false)
      assert.equal(heard, 2_000)
      const rows = await rowsOf(ana)
      assert.ok(rows.length <= MAX_ADDRESS_BOOK, `${rows.length} rows`)
      assert.ok(rows.includes(bob.peerId))
      await ana.close()
      assert.ok((await rowsOf(ana)).includes(bob.peerId))
    })
  }

  it('are those of the members that crashed last', { timeout: 60_000 }, async () => {
    await using village = new Village()
    const ana = await village.peer()
    await ana.join()
    const channel = await linkTo(village, ana, false)
    const crashed = Array.from({ length: MAX_ADDRESS_BOOK + 100 }, (_, count) => `crashed ${count}`)
    for (const peerId of crashed) {
      await ana.roster.admit(peerId, lobby.id, await envelopeOf(village, peerId))
      await channel.send(topicFrameCodec.encode({ lost: { topic: lobby.key, peerId } }))
      await village.pass(1_000)
    }
    await village.pass(1_000)
    assert.deepEqual(new Set(await rowsOf(ana)), new Set(crashed.slice(-MAX_ADDRESS_BOOK)))
  })

  it('outlive a topic that was left for as long as there is room, so that its members are found again', async () => {
    await using village = new Village()
    const bootstrap = await village.bootstrap()
    const known = { bootstrap: [bootstrap.address] }
    const peers = await Promise.all(Array.from({ length: 5 }, () => village.peer(known)))
    await Promise.all(peers.map(peer => peer.join()))
    await village.until('all see all', 30_000, () => peers.every(({ sees }) => sees().length === peers.length - 1))
    const [ana, ...others] = peers as [FakePeer, ...FakePeer[]]
    await ana.group()?.leave()
    await ana.close()
    await bootstrap.close()
    assert.deepEqual((await rowsOf(ana)).toSorted(), others.map(({ peerId }) => peerId).toSorted())
    const again = await village.peer({ ...known, identity: ana.identity, address: ana.address, store: ana.store })
    await again.join()
    await village.until('it finds all', 10_000, () => again.sees().length === others.length)
  })
})
