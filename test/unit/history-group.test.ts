import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Value } from '../../src/peer/api.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { type FakePeer, Village } from '../support/fake-peer.ts'
import { range } from '../support/history-world.ts'

/** What came, and how, in order. */
const came = ({ messages }: FakePeer, ...ways: string[]): Value[] =>
  messages.filter(({ via }) => ways.includes(via)).map(({ value }) => value)

const words = (first: number, last: number): string[] => range(first, last).map(n => `word ${n}`)

/** Says things one after the other, slowly enough for everybody. */
async function say(village: Village, from: FakePeer, values: readonly Value[]): Promise<void> {
  for (const value of values) {
    await from.group()?.broadcast(value)
    await village.pass(200)
  }
}

describe('a newcomer', () => {
  it('is told what was said before it came, each once, in order, by a bootstrap that keeps', async () => {
    await using village = new Village()
    const hub = await village.bootstrap({ keep: ['lobby'] })
    const ana = await village.peer({ bootstrap: [hub.address], name: 'ana' })
    await ana.join()
    await village.until('the bootstrap hears ana', 10_000, () => ana.node.isConnected(hub.node.peerId))
    await say(village, ana, words(1, 30))
    const late = await village.peer({ bootstrap: [hub.address] })
    await late.join('lobby', { history: 20 })
    await village.until('it is told', 10_000, () => came(late, 'history').length === 20)
    await village.pass(30_000)
    assert.deepEqual(came(late, 'history'), words(11, 30))
    assert.deepEqual(came(late, 'broadcast', 'direct'), [])
    const [first] = late.messages
    assert.equal(first?.from, ana.peerId)
    assert.equal(first?.name, 'ana')
    assert.match(first?.id ?? '', /^b\d+$/)
    assert.match(first?.sentAt ?? '', /^20\d\d-.*Z$/)
  })

  it('is told by a member that keeps, when the others do not', async () => {
    await using village = new Village()
    const hub = await village.bootstrap()
    const ana = await village.peer({ bootstrap: [hub.address] })
    const ben = await village.peer({ bootstrap: [hub.address], keep: ['lobby'] })
    await ana.join()
    await ben.join()
    await village.until('they meet', 10_000, () => ana.sees().length === 1)
    await say(village, ana, words(1, 5))
    const late = await village.peer({ bootstrap: [hub.address] })
    await late.join('lobby', { history: 100 })
    await village.until('it is told', 10_000, () => came(late, 'history').length === 5)
    assert.deepEqual(came(late, 'history'), words(1, 5))
  })

  it('is told nothing when it does not ask, and nothing of another topic', async () => {
    await using village = new Village()
    const hub = await village.bootstrap({ keep: ['lobby'] })
    const ana = await village.peer({ bootstrap: [hub.address] })
    await ana.join()
    await village.pass(2_000)
    await say(village, ana, words(1, 3))
    const late = await village.peer({ bootstrap: [hub.address] })
    await late.join('lobby')
    await late.join('attic', { history: 100 })
    await village.pass(30_000)
    assert.deepEqual(late.messages, [])
  })

  it('hears each message once, live or from a keeper, when both come at the same time', async () => {
    await using village = new Village()
    const hub = await village.bootstrap({ keep: ['lobby'] })
    const ana = await village.peer({ bootstrap: [hub.address] })
    await ana.join()
    await village.pass(2_000)
    await say(village, ana, words(1, 5))
    const late = await village.peer({ bootstrap: [hub.address] })
    await late.join('lobby', { history: 100 })
    await say(village, ana, words(6, 30)) // the first of them before it is in the mesh
    await village.pass(30_000)
    const all = came(late, 'history', 'broadcast').map(String)
    assert.deepEqual(all.toSorted(), words(1, 30).toSorted())
    for (const way of ['history', 'broadcast']) {
      const own = came(late, way).map(value => Number(String(value).slice(5)))
      assert.deepEqual(
        own,
        own.toSorted((a, b) => a - b)
      )
    }
    assert.ok(came(late, 'broadcast').length > 0)
  })

  it('is told the whole by two keepers that were there for a half each', async () => {
    await using village = new Village()
    const hub = await village.bootstrap()
    const ana = await village.peer({ bootstrap: [hub.address] })
    await ana.join()
    const first = await village.peer({ bootstrap: [hub.address], keep: ['lobby'] })
    await first.join()
    await village.until('the first keeper is there', 10_000, () => ana.sees().length === 1)
    await say(village, ana, words(1, 10))
    await first.group()?.leave()
    await village.pass(2_000)
    const second = await village.peer({ bootstrap: [hub.address], keep: ['lobby'] })
    await second.join()
    await village.until('the second keeper is there', 10_000, () => ana.sees().length === 1)
    await village.pass(2_000)
    await say(village, ana, words(11, 20))
    await first.join()
    await village.until('all are there', 20_000, () => ana.sees().length === 2)
    const late = await village.peer({ bootstrap: [hub.address] })
    await late.join('lobby', { history: 100 })
    await village.until('it is told', 20_000, () => came(late, 'history').length >= 20)
    await village.pass(30_000)
    assert.deepEqual(came(late, 'history').map(String).toSorted(), words(1, 20).toSorted())
  })

  it('is told by a bootstrap what that one kept before its restart', async () => {
    await using village = new Village()
    const identity = await village.newIdentity()
    const store = memoryStore()
    const { address, ...hub } = await village.bootstrap({ identity, store, keep: ['lobby'] })
    const ana = await village.peer({ bootstrap: [address] })
    await ana.join()
    await village.pass(2_000)
    await say(village, ana, words(1, 5))
    await hub.kill()
    await village.pass(5_000)
    await ana.close()
    await village.bootstrap({ identity, store, address, keep: ['lobby'] })
    const late = await village.peer({ bootstrap: [address] })
    await late.join('lobby', { history: 100 })
    await village.until('it is told', 60_000, () => came(late, 'history').length === 5)
    assert.deepEqual(came(late, 'history'), words(1, 5))
  })
})

describe('what is kept', () => {
  it('is never a direct message', async () => {
    await using village = new Village()
    const hub = await village.bootstrap({ keep: ['lobby'] })
    const ana = await village.peer({ bootstrap: [hub.address], keep: ['lobby'] })
    const ben = await village.peer({ bootstrap: [hub.address], keep: ['lobby'] })
    await ana.join()
    await ben.join()
    await village.until('they meet', 10_000, () => ana.sees().length === 1 && ben.sees().length === 1)
    const sending = ana.group()?.send(ben.peerId, 'a secret')
    await village.pass(1_000)
    await sending
    await say(village, ana, ['for everybody'])
    const late = await village.peer({ bootstrap: [hub.address] })
    await late.join('lobby', { history: 100 })
    await village.pass(30_000)
    assert.deepEqual(came(ben, 'direct', 'broadcast'), ['a secret', 'for everybody'])
    assert.deepEqual(came(late, 'history', 'broadcast', 'direct'), ['for everybody'])
    const reading = late.group()?.history()
    await village.pass(1_000)
    assert.deepEqual(
      (await reading)?.map(({ value }) => value),
      ['for everybody']
    )
  })

  it('can be asked for at any time, what this peer said itself included', async () => {
    await using village = new Village()
    const hub = await village.bootstrap({ keep: ['lobby'] })
    const ana = await village.peer({ bootstrap: [hub.address] })
    const group = await ana.join()
    await village.pass(2_000)
    await say(village, ana, words(1, 5))
    const reading = group.history({ limit: 3 })
    await village.pass(1_000)
    const past = await reading
    assert.deepEqual(
      past.map(({ value }) => value),
      words(3, 5)
    )
    assert.ok(past.every(({ via, topic, from }) => via === 'history' && topic === 'lobby' && from === ana.peerId))
    assert.deepEqual(ana.messages, [])
    await group.leave()
    await assert.rejects(group.history(), { code: 'closed' })
  })
})
