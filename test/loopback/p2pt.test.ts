import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Json, type Message, type Peer, testnet, type Value } from '../../src/index.ts'
import { eventually } from '../support/eventually.ts'
import { allMeet, type Seat, seen, sit } from '../support/topics.ts'

// What P2PT's own suite shows of P2PT, shown of this library; then what its code gets wrong, the other way round.

const PATIENT = { timeoutMs: 60_000 }
const TEST = { timeout: 120_000 }

async function meet(...peers: readonly Peer[]): Promise<Seat[]> {
  const seats = await Promise.all(peers.map(peer => sit(peer)))
  await allMeet(seats)
  return seats
}

async function pair(): Promise<AsyncDisposable & { readonly ana: Seat; readonly bob: Seat }> {
  const net = await testnet()
  const [ana, bob] = (await meet(await net.createPeer(), await net.createPeer())) as [Seat, Seat]
  return { ana, bob, [Symbol.asyncDispose]: () => net.close() }
}

/** Answers every request of a group. */
function answer(seat: Seat, respond: (message: Message) => Promise<unknown>): void {
  seat.group.on('message', async message => {
    if (message.wantsReply) await respond(message)
  })
}

describe('as in P2PT', () => {
  it('a message of one character arrives', TEST, async () => {
    await using net = await pair()
    await net.ana.group.send(net.bob.peerId, 'ö')
    assert.equal(net.bob.messages[0]?.value, 'ö')
  })

  it('answers are answered, over three round trips', TEST, async () => {
    await using net = await pair()
    const { ana, bob } = net
    const done = Promise.withResolvers<unknown>()
    answer(bob, async question => {
      const second = await question.ask(['bob', 1, question.value as string])
      const third = await second.ask(['bob', 2, second.value as string])
      await third.respond(['bob', 3, third.value as string])
      done.resolve(third.value)
    })
    const first = await ana.group.ask(bob.peerId, 'begin')
    assert.deepEqual(first.value, ['bob', 1, 'begin'])
    const second = await first.ask('one')
    assert.deepEqual(second.value, ['bob', 2, 'one'])
    const third = await second.ask('two')
    assert.deepEqual(third.value, ['bob', 3, 'two'])
    assert.deepEqual([third.from, third.wantsReply, await done.promise], [bob.peerId, false, 'two'])
  })

  it('who comes is told of once, who goes is told of once', TEST, async () => {
    await using net = await testnet()
    const [ana, bob] = (await meet(await net.createPeer(), await net.createPeer())) as [Seat, Seat]
    await ana.group.send(bob.peerId, 1)
    await bob.peer.close()
    await eventually('ana knows that bob went', () => seen(ana).length === 0)
    const cem = await sit(await net.createPeer())
    await allMeet([ana, cem]) // a while later
    assert.deepEqual(
      ana.told.filter(({ peerId }) => peerId === bob.peerId),
      [
        { event: 'member', peerId: bob.peerId, verified: true },
        { event: 'left', peerId: bob.peerId, reason: 'goodbye' }
      ]
    )
    assert.deepEqual(ana.told.filter(({ peerId }) => peerId === cem.peerId).length, 1)
  })

  it('peers find each other over the second of two meeting places when the first is gone', TEST, async () => {
    await using net = await testnet(2)
    const ana = await sit(await net.createPeer())
    await net.bootstraps[0]?.close()
    const bob = await sit(await net.createPeer())
    await allMeet([ana, bob])
    await ana.group.send(bob.peerId, 'hello', PATIENT)
    assert.equal(bob.messages.length, 1)
  })

  it('a meeting place that is added later brings those together who had none', TEST, async () => {
    await using net = await testnet()
    const bob = await sit(await net.createPeer())
    const ana = await sit(await net.createPeer({ bootstrap: [] }))
    assert.deepEqual(seen(ana), [])
    await ana.peer.connect(net.addresses[0] ?? '')
    await allMeet([ana, bob])
    await bob.group.send(ana.peerId, 'welcome')
    assert.equal(ana.messages[0]?.value, 'welcome')
  })

  it('those who have met go on when their meeting place is given up', TEST, async () => {
    await using net = await testnet()
    const [ana, bob] = (await meet(await net.createPeer(), await net.createPeer())) as [Seat, Seat]
    for (const { peer } of [ana, bob]) await peer.disconnect(net.addresses[0] ?? '')
    await eventually('nobody is connected to it', () => net.bootstraps[0]?.node.connections().length === 0)
    answer(bob, message => message.respond(message.value))
    assert.equal((await ana.group.ask(bob.peerId, 'still there?', PATIENT)).value, 'still there?')
    await bob.group.send(ana.peerId, 'yes')
    assert.equal(ana.messages.at(-1)?.value, 'yes')
  })

  for (const [kind, large] of Object.entries({
    text: (length: number): Json => 'ab€d'.repeat(Math.ceil(length / 6)),
    JSON: (length: number): Json => Array.from({ length: length / 20 }, (_, at) => ({ at, text: `"${at}"` }))
  })) {
    it(`a request of 100 KB has an answer of 1 MB: ${kind}`, TEST, async () => {
      await using net = await pair()
      answer(net.bob, message => message.respond([message.value as Json, large(1_000_000)]))
      const reply = await net.ana.group.ask(net.bob.peerId, large(100_000), PATIENT)
      assert.deepEqual(reply.value, [large(100_000), large(1_000_000)])
    })
  }
})

describe('other than in P2PT', () => {
  it('whatever is falsy, short or a number is a message, a question and an answer like any other', TEST, async () => {
    await using net = await pair()
    answer(net.bob, message => message.respond(message.value))
    for (const value of ['', 42, true, 0, null, false, [], {}] satisfies Value[]) {
      await net.ana.group.send(net.bob.peerId, value)
      assert.deepEqual(net.bob.messages.at(-1)?.value, value)
      assert.deepEqual((await net.ana.group.ask(net.bob.peerId, value)).value, value)
    }
  })

  it('two who ask with the same ids get each their own answers', TEST, async () => {
    await using net = await testnet()
    const [ana, bob, cem] = (await meet(...(await Promise.all([1, 2, 3].map(() => net.createPeer()))))) as [
      Seat,
      Seat,
      Seat
    ]
    answer(cem, async message => {
      await new Promise(resolve => setImmediate(resolve))
      await message.respond([message.from, message.value as Json])
    })
    const large = 'x'.repeat(100_000)
    await Promise.all(
      [ana, bob].flatMap(({ group, peerId }) =>
        Array.from({ length: 60 }, async (_, at) => {
          const value = at % 10 === 0 ? [at, large] : [at]
          assert.deepEqual((await group.ask(cem.peerId, value, PATIENT)).value, [peerId, value])
        })
      )
    )
    const idsOf = (seat: Seat) => cem.messages.filter(({ from }) => from === seat.peerId).map(({ id }) => id)
    assert.ok(
      idsOf(ana).some(id => idsOf(bob).includes(id)),
      'the ids were not the same: this shows nothing'
    )
  })
})

describe('a request that nobody answers ends at both ends', () => {
  const endings: Record<string, { end(net: { ana: Seat; bob: Seat }): unknown; code: string; timeoutMs?: number }> = {
    'when its time is over': { end: () => undefined, code: 'timed-out', timeoutMs: 300 },
    'when the member leaves the group': { end: ({ bob }) => bob.group.leave(), code: 'gone' },
    'when the member closes': { end: ({ bob }) => bob.peer.close(), code: 'gone' },
    'when its asker leaves the group': { end: ({ ana }) => ana.group.leave(), code: 'closed' },
    'when its asker closes': { end: ({ ana }) => ana.peer.close(), code: 'closed' },
    'when the connection breaks': { end: ({ ana, bob }) => ana.peer.node.disconnect(bob.peerId), code: 'gone' }
  }
  for (const [when, { end, code, timeoutMs = 60_000 }] of Object.entries(endings)) {
    it(when, TEST, async () => {
      await using net = await pair()
      const signal = Promise.withResolvers<AbortSignal>()
      net.bob.group.on('message', message => signal.resolve(message.signal))
      const asking = assert.rejects(net.ana.group.ask(net.bob.peerId, 'anybody?', { timeoutMs }), {
        name: 'MusterError',
        code
      })
      const heard = await signal.promise
      assert.equal(heard.aborted, false)
      await end(net)
      await asking
      await eventually('the handler is told', () => heard.aborted)
    })
  }
})
