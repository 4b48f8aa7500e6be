import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAX_ADDRESS_BOOK } from '../../src/shared/roster/limits.ts'
import { peekRecord } from '../../src/shared/roster/record.ts'
import { RosterRows } from '../../src/shared/roster/rows.ts'
import { type FakePeer, Village } from '../support/fake-peer.ts'
import { lobby, madeUpRecord, strangerAt } from '../support/fake-stranger.ts'

/** Whose rows a peer has on its disk. */
async function rowsOf({ store }: FakePeer): Promise<string[]> {
  return await Array.fromAsync(new RosterRows(store.datastore).all(), ({ envelope }) => peekRecord(envelope).peerId)
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
      const stranger = await strangerAt(village, ana, isMember)
      await stranger.flood(2_000)
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
    const stranger = await strangerAt(village, ana)
    const crashed = Array.from({ length: MAX_ADDRESS_BOOK + 100 }, (_, count) => `crashed ${count}`)
    for (const peerId of crashed) {
      await ana.roster.admit(peerId, lobby.id, await madeUpRecord(village, peerId))
      await stranger.say({ lost: { topic: lobby.key, peerId } })
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
