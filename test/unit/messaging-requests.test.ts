import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Value } from '../../src/peer/api.ts'
import { messageFrame, receiptFrame } from '../../src/peer/messaging/frame.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { messageFrameCodec } from '../../src/shared/wire/message.ts'
import { eventually } from '../support/eventually.ts'
import { gate, LOBBY, type Talker, World } from '../support/messaging-world.ts'

/** Answers everything with what was asked. */
function echo(talker: Talker): void {
  talker.deliver = async ({ request, value }) => {
    await request?.respond(value)
  }
}

describe('a request', () => {
  it('is answered with any JSON value or bytes', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    echo(bob)
    for (const value of [
      '',
      0,
      false,
      null,
      42,
      true,
      'x',
      [],
      {},
      { a: [null] },
      Uint8Array.of(),
      Uint8Array.of(1)
    ] satisfies Value[]) {
      assert.deepEqual((await ana.ask(bob, value)).value, value)
    }
  })

  it('can be answered with a question, to any depth, and each round goes to who asked', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const said: string[] = []
    bob.deliver = async ({ value, request }) => {
      said.push(String(value))
      let answer = await request?.ask('1?')
      said.push(String(answer?.value))
      answer = await answer?.request?.ask('2?')
      said.push(String(answer?.value))
      await answer?.request?.respond('done')
    }
    const first = await ana.ask(bob, 'begin')
    assert.equal(first.value, '1?')
    const second = await first.request?.ask('one')
    assert.equal(second?.value, '2?')
    const third = await second?.request?.ask('two')
    assert.deepEqual([third?.value, third?.request], ['done', undefined])
    assert.deepEqual(said, ['begin', 'one', 'two'])
    assert.equal(ana.count.opens + bob.count.opens, 1) // all of it over one stream
  })

  it('may be answered long after its handler returned, and in any order', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const open: Array<() => Promise<unknown> | undefined> = []
    bob.deliver = ({ value, request }) => void open.unshift(() => request?.respond(value))
    const asked = Promise.all([1, 2, 3].map(value => ana.ask(bob, value)))
    await eventually('bob has them all', () => open.length === 3)
    for (const answer of open) await answer()
    assert.deepEqual(
      (await asked).map(({ value }) => value),
      [1, 2, 3]
    )
  })

  it('does not hold up those behind it while it is worked on', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const slow = gate()
    bob.deliver = async ({ value, request }) => {
      if (value === 'slow') await slow.opened
      await request?.respond(value)
    }
    const held = ana.ask(bob, 'slow')
    assert.equal((await ana.ask(bob, 'quick')).value, 'quick')
    await ana.send(bob, 'a message')
    slow.open()
    assert.equal((await held).value, 'slow')
  })

  it('of two peers with the same ids never mixes', async () => {
    await using world = new World()
    const [ana, bob, cem] = [await world.talker(), await world.talker(), await world.talker()]
    cem.deliver = async ({ from, value, request }) => {
      await new Promise(resolve => setImmediate(resolve))
      await request?.respond([from, value as number])
    }
    const numbers = Array.from({ length: 100 }, (_, at) => at)
    await Promise.all(
      [ana, bob].flatMap(talker =>
        numbers.map(async number => {
          assert.deepEqual((await talker.ask(cem, number)).value, [talker.node.peerId, number])
        })
      )
    )
  })

  it('keeps more than the window in flight', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const held: Array<() => unknown> = []
    bob.deliver = ({ value, request }) => void held.push(() => request?.respond(value))
    const asked = Promise.all(Array.from({ length: 1000 }, (_, at) => ana.ask(bob, at)))
    await eventually('bob has them all, although none is answered', () => held.length === 1000)
    for (const answer of held) answer()
    assert.equal((await asked).length, 1000)
  })
})

describe('a request fails', () => {
  it('no-handler, handler-failed without what was thrown, and the stream stays', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    bob.deliver = () => {
      throw new MusterError('no-handler')
    }
    await assert.rejects(ana.ask(bob, 1), { code: 'no-handler' })
    for (const fail of [() => Promise.reject(new Error('secret')), () => assert.fail('secret')]) {
      bob.deliver = fail
      await assert.rejects(ana.ask(bob, 1), thrown => {
        assert.ok(thrown instanceof MusterError && thrown.code === 'handler-failed')
        assert.ok(!`${thrown.message}${thrown.cause}`.includes('secret'))
        return true
      })
    }
    echo(bob)
    await ana.ask(bob, 1)
    assert.equal(ana.count.opens, 1)
  })

  it('timed-out when nobody answers, and the handler hears of it', async () => {
    const clock = new ManualClock()
    await using world = new World()
    const [ana, bob] = [await world.talker({ clock }), await world.talker()]
    let signal: AbortSignal | undefined
    bob.deliver = ({ request }) => {
      signal = request?.signal
    }
    const asked = ana.ask(bob, 1, { timeoutMs: 5000 })
    await eventually('bob has it', () => signal !== undefined)
    clock.advance(5000)
    await assert.rejects(asked, { code: 'timed-out' })
    await eventually('bob is told', () => signal?.aborted === true)
    assert.equal((signal?.reason as MusterError | undefined)?.code, 'aborted')
  })

  it('aborted at this end is an abort at the other; a late answer fails there, quietly here', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    let request: Parameters<Talker['deliver']>[0]['request']
    bob.deliver = async message => {
      request = message.request
    }
    const cancel = new AbortController()
    const asked = ana.ask(bob, 1, { signal: cancel.signal })
    await eventually('bob has it', () => request !== undefined)
    cancel.abort()
    await assert.rejects(asked, { code: 'aborted' })
    await eventually('bob is told', () => request?.signal.aborted === true)
    assert.equal(await request?.respond('late'), undefined)
    echo(bob)
    assert.equal((await ana.ask(bob, 'next')).value, 'next')
  })

  it('gone when the member left or was lost, at both ends', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    let signal: AbortSignal | undefined
    bob.deliver = ({ request }) => {
      signal = request?.signal
    }
    const asked = ana.ask(bob, 1)
    await eventually('bob has it', () => signal !== undefined)
    const failed = assert.rejects(asked, { code: 'gone' })
    ana.messaging.abandon(LOBBY.id, bob.node.peerId)
    await failed
    await eventually('bob is told', () => signal?.aborted === true)

    const again = ana.ask(bob, 2)
    await eventually('bob has the next', () => signal?.aborted === false)
    const lost = assert.rejects(again, { code: 'gone' })
    await world.network.kill(bob.node)
    await lost
  })

  it('refused when it was answered already', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const second = Promise.withResolvers<unknown>()
    bob.deliver = async ({ request }) => {
      await request?.respond(1)
      second.resolve(request?.respond(2).catch((thrown: MusterError) => thrown.code))
    }
    assert.equal((await ana.ask(bob, 0)).value, 1)
    assert.equal(await second.promise, 'refused')
  })

  it('value-invalid leaves the request open for another answer', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    bob.deliver = async ({ request }) => {
      await assert.rejects(async () => await request?.respond(Number.NaN), { code: 'value-invalid' })
      await request?.respond('better')
    }
    assert.equal((await ana.ask(bob, 0)).value, 'better')
  })

  it('limit-reached when too many are open, here or there', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker({ maxAsked: 3 }), await world.talker()]
    bob.deliver = () => undefined
    const open = [1, 2, 3].map(value => ana.ask(bob, value))
    await world.network.settle()
    await assert.rejects(ana.ask(bob, 4), { code: 'limit-reached' })
    const cem = await world.talker({ maxOpenRequests: 1 })
    cem.deliver = () => undefined
    const only = ana.ask(cem, 1)
    await assert.rejects(ana.ask(cem, 2), { code: 'limit-reached' })
    await ana.send(cem, 'a message is none')
    const ends = Promise.allSettled([...open, only])
    await ana.messaging.close()
    assert.ok((await ends).every(({ status }) => status === 'rejected'))
  })
})

describe('the other side of a request', () => {
  it('that answers what it was not asked is told that nobody waits', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const body = new TextEncoder().encode('1')
    const channel = await ana.open(bob, ana.openFrame(), messageFrame({ id: 1, kind: 0, body, replyTo: 7 }))
    const replies: unknown[] = []
    for await (const frame of channel.frames) {
      replies.push(messageFrameCodec.decode(frame))
      if (replies.length === 2) break
    }
    assert.deepEqual(replies[1], { refusal: { id: 1, code: 'aborted' } })
    channel.abort(new Error('done'))
  })

  it('that sends more than may be under way is cut off', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ maxUnreceiptedMessages: 4 })]
    bob.deliver = () => gate().opened
    const body = new TextEncoder().encode('1')
    const messages = Array.from({ length: 5 }, (_, at) => messageFrame({ id: at + 1, kind: 0, body }))
    const channel = await ana.open(bob, ana.openFrame(), ...messages.slice(0, 4))
    await world.network.settle()
    assert.equal(channel.signal.aborted, false)
    await channel.send(messages[4] as Uint8Array)
    await eventually('the stream is gone', () => channel.signal.aborted)
  })

  it('that gives two receipts for one message is cut off', async () => {
    await using world = new World()
    const [ana, rogue] = [await world.talker(), await world.talker()]
    await rogue.messaging.close()
    rogue.node.handle('message/2.0.0', { maxFrameBytes: 1000, maxInboundPerConnection: 1 }, async channel => {
      await channel.send(receiptFrame(1))
      await channel.send(receiptFrame(1))
    })
    await ana.send(rogue, 1)
    await assert.rejects(ana.send(rogue, 2), { code: 'closed' })
  })
})
