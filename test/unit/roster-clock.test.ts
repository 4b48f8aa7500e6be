import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { topicOf } from '../../src/shared/core/topic.ts'
import { RECORD_VALIDITY_MS } from '../../src/shared/roster/limits.ts'
import { type MemberRecord, peekRecord } from '../../src/shared/roster/record.ts'
import { type FakePeer, Village } from '../support/fake-peer.ts'

const lobby = await topicOf('lobby')
const HOUR_MS = 3_600_000

function ownOf({ roster }: FakePeer): MemberRecord {
  const envelope = roster.own(lobby.id)
  assert.ok(envelope !== undefined)
  return peekRecord(envelope)
}

/** A bootstrap, and two who meet at it; `skewMs` is what their clocks are wrong by. */
async function twoWith(village: Village, skewMs: () => number): Promise<[FakePeer, FakePeer]> {
  const bootstrap = await village.bootstrap({ clockSkewMs: skewMs })
  const options = { bootstrap: [bootstrap.address], clockSkewMs: skewMs }
  const both: [FakePeer, FakePeer] = [await village.peer(options), await village.peer(options)]
  await Promise.all(both.map(peer => peer.join()))
  await meet(village, both)
  return both
}

const meet = (village: Village, peers: readonly FakePeer[]): Promise<number> =>
  village.until('all see all', 60_000, () => peers.every(({ sees }) => sees().length === peers.length - 1))

describe('a member whose clock', () => {
  for (const [how, byMs] of [
    ['went on by an hour, as while it slept', HOUR_MS],
    ['went back by an hour', -HOUR_MS]
  ] as const) {
    it(`${how}, is listed again as soon as it is connected again`, async () => {
      await using village = new Village()
      let skewMs = 0
      const [ana, bob] = await twoWith(village, () => skewMs)
      const before = ownOf(ana)
      village.network.freeze(ana.node)
      await village.until('ana is lost', 60_000, () => bob.sees().length === 0)
      skewMs += byMs
      village.network.thaw(ana.node)
      await meet(village, [ana, bob])
      assert.ok(ownOf(ana).sequence > before.sequence)
    })

    it(`${how}, says within a minute who it is, newer than before`, async () => {
      await using village = new Village()
      let skewMs = 0
      const both = await twoWith(village, () => skewMs)
      const before = both.map(ownOf)
      skewMs += byMs
      await village.pass(RECORD_VALIDITY_MS / 30)
      const now = village.clock.now() + skewMs
      for (const [at, peer] of both.entries()) {
        const { issuedMs, expiresMs, sequence } = ownOf(peer)
        assert.ok(issuedMs <= now && now < expiresMs)
        assert.ok(sequence > (before[at]?.sequence ?? Number.NaN))
      }
    })
  }

  for (const [wrong, byMs] of [
    ['slow', -HOUR_MS],
    ['fast', HOUR_MS]
  ] as const) {
    it(`was an hour ${wrong} when it joined, is listed as soon as the clock is right`, async () => {
      await using village = new Village()
      const bootstrap = await village.bootstrap()
      const known = { bootstrap: [bootstrap.address] }
      let skewMs: number = byMs
      const ana = await village.peer(known)
      const bob = await village.peer({ ...known, clockSkewMs: () => skewMs })
      await Promise.all([ana.join(), bob.join()])
      await village.pass(10_000)
      assert.deepEqual([ana.sees(), bob.sees()], [[], []])
      skewMs = 0
      await meet(village, [ana, bob])
    })
  }
})
