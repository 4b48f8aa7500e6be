import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type BroadcastRoom, createBroadcasts } from '../../src/peer/broadcasts/broadcasts.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import type { Say } from '../../src/shared/gossip/feed.ts'
import { LOBBY } from '../support/messaging-world.ts'

/** Broadcasts of one that has just come into the lobby, and lists a member that is no neighbour in gossip yet. */
function newcomer() {
  const clock = new ManualClock()
  const published: Say[] = []
  const state = { envelope: Uint8Array.of(1) as Uint8Array | undefined }
  const audience = {
    members: () => (state.envelope === undefined ? [] : [{ peerId: 'bob' }]),
    isNew: () => true,
    deliver: () => undefined
  }
  const room: BroadcastRoom = createBroadcasts({
    node: {
      peerId: 'ana',
      open: async () => assert.fail('nothing is acknowledged'),
      handle: () => () => undefined,
      connect: async () => assert.fail('nobody is dialled'),
      gossip: {
        subscribe: () => () => undefined,
        publish: async () => assert.fail('the feed says it'),
        neighbours: () => []
      }
    },
    feed: {
      subscribe: () => () => undefined,
      publish: async said => {
        published.push(said)
        return { sequence: published.length, peers: [] }
      }
    },
    ownEnvelope: () => state.envelope,
    clock
  })
  const leave = room.enter(LOBBY, audience)
  /** Lets `ms` pass, in steps as short as the pauses in which a broadcast waits. */
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.advance(50)
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  return { room, audience, published, state, leave, pass }
}

describe('a broadcast that waits for the first neighbour', () => {
  it('is not said when its caller gives it up', async () => {
    const { room, audience, published, pass } = newcomer()
    await using closing = room
    const cancel = new AbortController()
    let isOver = false
    const failed = assert
      .rejects(closing.say(LOBBY, audience, 'hello', { signal: cancel.signal }), { code: 'aborted' })
      .finally(() => {
        isOver = true
      })
    await pass(100)
    cancel.abort()
    await pass(100)
    assert.equal(isOver, true)
    await failed
    await pass(20_000)
    assert.deepEqual(published, [])
  })

  it('is not said when the group is left', async () => {
    const { room, audience, published, state, leave, pass } = newcomer()
    await using closing = room
    const failed = assert.rejects(closing.say(LOBBY, audience, 'hello'), { code: 'closed' })
    await pass(100)
    state.envelope = undefined
    leave()
    await pass(100)
    await failed
    assert.deepEqual(published, [])
  })

  it('goes with the record of the moment at which it is said', async () => {
    const { room, audience, published, state, pass } = newcomer()
    await using closing = room
    const saying = closing.say(LOBBY, audience, 'hello')
    await pass(100)
    state.envelope = Uint8Array.of(2)
    await pass(15_000)
    await saying
    assert.deepEqual(
      published.map(({ envelope }) => envelope),
      [Uint8Array.of(2)]
    )
  })
})
