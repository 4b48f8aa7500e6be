import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAX_WAITING_MESSAGES } from '../../src/peer/messaging/limits.ts'
import type { TopicGroup } from '../../src/peer/topics/group.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { type FakePeer, Village } from '../support/fake-peer.ts'

/** Ana, in the lobby, and bob, whom she has lost. */
async function anaWithoutBob(village: Village): Promise<{ ana: FakePeer; lobby: TopicGroup; bob: FakePeer }> {
  const bootstrap = await village.bootstrap()
  const options = { bootstrap: [bootstrap.address] }
  const [ana, bob] = [await village.peer(options), await village.peer(options)]
  const [lobby] = await Promise.all([ana.join(), bob.join()])
  await village.until('ana sees bob', 10_000, () => ana.sees().includes(bob.peerId))
  await bob.kill()
  await village.until('ana has lost bob', 60_000, () => !ana.sees().includes(bob.peerId))
  await bootstrap.kill()
  return { ana, lobby, bob }
}

/** Bob is back, at his address, and knows nobody. */
async function comeBack(village: Village, { identity, address }: FakePeer): Promise<FakePeer> {
  const bob = await village.peer({ identity, address })
  await bob.join()
  return bob
}

describe('a send that waits for a member that is lost', () => {
  it('says what the value was at the call', async () => {
    await using village = new Village()
    const { lobby, bob } = await anaWithoutBob(village)
    const value = new Uint8Array(1_000).fill(1)
    const sending = lobby.send(bob.peerId, value, { waitMs: 60_000 })
    value.fill(2)
    const back = await comeBack(village, bob)
    await village.until('bob hears it', 60_000, () => back.heard.length > 0)
    assert.deepEqual(back.heard, [new Uint8Array(1_000).fill(1)])
    await sending
  })

  it('dials it again, 2 seconds later at the latest', async () => {
    await using village = new Village()
    const { lobby, bob } = await anaWithoutBob(village)
    await village.pass(120_000) // by now the group itself tries it once a minute
    const sending = lobby.send(bob.peerId, 'hello', { waitMs: 60_000 })
    await village.pass(30_000)
    const back = await comeBack(village, bob)
    await village.until('bob hears it', 2_500, () => back.heard.length > 0)
    await sending
  })

  it('is one of so many at most', async () => {
    await using village = new Village()
    const { lobby, bob } = await anaWithoutBob(village)
    const codes: string[] = []
    for (let number = 0; number < MAX_WAITING_MESSAGES + 900; number++) {
      lobby
        .send(bob.peerId, number, { waitMs: 30_000 })
        .catch(thrown => codes.push(isMusterError(thrown) ? thrown.code : 'none'))
    }
    await village.network.settle()
    assert.deepEqual(codes, Array(900).fill('limit-reached'))
    await village.pass(31_000)
    assert.deepEqual(codes.slice(900), Array(MAX_WAITING_MESSAGES).fill('not-a-member'))
  })

  it('arrives before one of a listener that hears of its return', async () => {
    await using village = new Village()
    const { lobby, bob } = await anaWithoutBob(village)
    const sends = ['first', 'second'].map(value => lobby.send(bob.peerId, value, { waitMs: 60_000 }))
    lobby.on('member', ({ peerId }) => void sends.push(lobby.send(peerId, 'third')))
    const back = await comeBack(village, bob)
    await village.until('bob hears all', 60_000, () => back.heard.length === 3)
    assert.deepEqual(back.heard, ['first', 'second', 'third'])
    await Promise.all(sends)
  })

  it('ends with its signal, and when the group is left', async () => {
    await using village = new Village()
    const { lobby, bob } = await anaWithoutBob(village)
    const cancel = new AbortController()
    const cancelled = lobby.send(bob.peerId, 1, { waitMs: 60_000, signal: cancel.signal })
    const left = lobby.send(bob.peerId, 2, { waitMs: 60_000 })
    const failures = [
      assert.rejects(cancelled, { code: 'aborted', message: /was not sent/ }),
      assert.rejects(left, { code: 'closed' })
    ]
    cancel.abort()
    await failures[0]
    const leaving = lobby.leave()
    await village.pass(2_000)
    await Promise.all([leaving, ...failures])
  })
})

describe('a send that waits for a member that never was there', () => {
  it('says nothing to it, although it is connected, before it shows that it is in the topic', async () => {
    await using village = new Village()
    const [ana, bob] = [await village.peer(), await village.peer()]
    const lobby = await ana.join()
    const connecting = ana.node.connect({ peerId: bob.peerId, addresses: [bob.address] })
    await village.pass(200)
    await connecting
    let opened = 0
    const open = ana.node.open.bind(ana.node)
    ana.node.open = (to, protocol, options) => {
      if (protocol.includes('/message/')) opened++
      return open(to, protocol, options)
    }
    const sending = lobby.send(bob.peerId, 'hello', { waitMs: 60_000 })
    await village.pass(10_000)
    assert.equal(opened, 0)
    await bob.join()
    await village.until('bob hears it', 30_000, () => bob.heard.length > 0)
    await sending
  })

  it('says in the end that it is no member', async () => {
    await using village = new Village()
    const ana = await village.peer()
    const lobby = await ana.join()
    const failed = assert.rejects(lobby.send('nobody', 1, { waitMs: 1_000 }), { code: 'not-a-member' })
    await village.pass(1_100)
    await failed
  })
})
