import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { AskOptions, AskResult, Member, Value } from '../../src/peer/api.ts'
import { DirectMessages } from '../../src/peer/topics/direct.ts'
import type { RawAnswer } from '../../src/peer/topics/received.ts'
import { type ErrorCode, MusterError } from '../../src/shared/core/errors.ts'
import { LOBBY } from '../support/messaging-world.ts'

interface Asked {
  readonly to: string
  readonly signal: AbortSignal | undefined
  answer(value: Value): void
  fail(code: ErrorCode): void
}

/** A group of `count` members whose answers the test gives. */
function group(count: number) {
  const names = Array.from({ length: count }, (_, at) => `member ${at}`)
  const members: Member[] = names.map(peerId => ({ peerId, name: undefined, addresses: [], verified: true }))
  const asked: Asked[] = []
  let open = 0
  let mostOpen = 0
  const direct = new DirectMessages({
    topic: LOBBY,
    messenger: {
      send: async () => assert.fail('nothing is sent'),
      ask(_topic, to, _value, { signal }: AskOptions = {}) {
        mostOpen = Math.max(mostOpen, ++open)
        const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>()
        const giveUp = (): void => reject(new MusterError('aborted', undefined, { cause: signal?.reason }))
        if (signal?.aborted) giveUp()
        signal?.addEventListener('abort', giveUp, { once: true })
        asked.push({
          to,
          signal,
          answer: value => resolve({ id: 1, value, request: undefined }),
          fail: code => reject(new MusterError(code))
        })
        return promise.finally(() => {
          open--
          signal?.removeEventListener('abort', giveUp)
        })
      },
      judge(value) {
        if (value === undefined) throw new MusterError('value-invalid')
      },
      abandon: () => undefined,
      retry: () => undefined,
      forget: async () => undefined
    },
    signal: new AbortController().signal,
    members: () => members,
    member: () => ({ name: undefined, isShown: true }),
    receiver: member => (typeof member === 'string' ? member : member.peerId),
    offer: () => undefined
  })
  return { direct, names, asked, open: () => open, mostOpen: () => mostOpen }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const short = ({ peerId, ...result }: AskResult): unknown[] =>
  result.outcome === 'answered' ? [peerId, result.reply.value] : [peerId, result.outcome, result.error.code]

describe('asking several members', () => {
  it('yields what comes as it comes, whatever the order', async () => {
    const { direct, asked } = group(3)
    const results = direct.askMany('all', 'who?')
    const first = results.next()
    await turn()
    asked[2]?.answer(2)
    assert.deepEqual(short((await first).value as AskResult), ['member 2', 2])
    asked[0]?.answer(0)
    asked[1]?.answer(1)
    assert.deepEqual((await Array.fromAsync(results)).map(short), [
      ['member 0', 0],
      ['member 1', 1]
    ])
  })

  it('says of each member what became of it, and goes on', async () => {
    const outcomes: Partial<Record<ErrorCode, string>> = {
      ...{ 'timed-out': 'timed-out', gone: 'gone', closed: 'gone', unreachable: 'gone', 'not-a-member': 'gone' },
      ...{ 'no-handler': 'refused', 'handler-failed': 'refused', refused: 'refused' },
      ...{ 'limit-reached': 'refused', 'too-large': 'refused' }
    }
    const codes = Object.keys(outcomes) as ErrorCode[]
    const { direct, names, asked } = group(codes.length)
    const all = Array.fromAsync(direct.askMany('all', 'who?'))
    await turn()
    for (const [at, code] of codes.entries()) asked[at]?.fail(code)
    assert.deepEqual(
      (await all).map(short),
      codes.map((code, at) => [names[at], outcomes[code], code])
    )
  })

  it('asks nobody twice, and nobody when there is nobody', async () => {
    const { direct, asked } = group(2)
    const all = Array.fromAsync(direct.askMany(['member 1', 'member 1'], 'who?'))
    await turn()
    assert.equal(asked.length, 1)
    asked[0]?.answer(true)
    assert.equal((await all).length, 1)
    assert.deepEqual(await Array.fromAsync(direct.askMany([], 'who?')), [])
  })

  it('fails at once for what can be sent to nobody', async () => {
    const { direct, asked } = group(2)
    await assert.rejects(Array.fromAsync(direct.askMany('all', undefined as never)), { code: 'value-invalid' })
    assert.equal(asked.length, 0)
  })

  it('that is left early takes every request back, those not begun too', async () => {
    const { direct, asked, open } = group(3000)
    const results = direct.askMany('all', 'who?')
    const first = results.next()
    await turn()
    asked[5]?.answer('me')
    assert.deepEqual(short((await first).value as AskResult), ['member 5', 'me'])
    await results.return(undefined)
    await turn()
    assert.equal(open(), 0)
    assert.ok(asked.length < 3000)
  })

  it('of thousands has a few of them under way at a time, and ends with all', async () => {
    const { direct, asked, mostOpen } = group(3000)
    let done = 0
    const all = Array.fromAsync(direct.askMany('all', 'who?'))
    while (done < 3000) {
      await turn()
      for (; done < asked.length; done++) asked[done]?.answer(done)
    }
    const results = await all
    assert.equal(new Set(results.map(({ peerId }) => peerId)).size, 3000)
    assert.ok(results.every(({ outcome }) => outcome === 'answered'))
    assert.ok(mostOpen() <= 64, String(mostOpen()))
  })

  for (const [what, reason] of Object.entries({
    'without a reason': undefined,
    'with a reason of its own': new Error('mine')
  })) {
    it(`that is cancelled ${what} says so, and makes up no answers`, async () => {
      const { direct, asked, open } = group(300)
      const cancel = new AbortController()
      const seen: unknown[] = []
      const asking = (async () => {
        for await (const result of direct.askMany('all', 'who?', { signal: cancel.signal })) seen.push(short(result))
      })()
      await turn()
      for (const each of asked.slice(0, 64)) each.answer(true) // others move up behind those that wait
      await turn()
      cancel.abort(reason)
      await assert.rejects(asking, { code: 'aborted' })
      assert.equal(seen.length, 64)
      assert.equal(open(), 0)
    })
  }
})
