import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { SendOptions } from '../../src/peer/api.ts'
import { Context } from '../../src/peer/messaging/context.ts'
import { type Delivery, Incoming } from '../../src/peer/messaging/incoming.ts'
import { DEFAULTS, RESEND_MEMORY_MS } from '../../src/peer/messaging/limits.ts'
import { Line } from '../../src/peer/messaging/line.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { isMusterError, MusterError } from '../../src/shared/core/errors.ts'
import { PART_BYTES } from '../../src/shared/wire/message.ts'
import { WireEnd } from '../support/messaging-wire.ts'
import { LOBBY } from '../support/messaging-world.ts'

const LIMITS = {
  ...DEFAULTS,
  maxUnreceiptedMessages: 3,
  maxWaitingMessages: 8,
  maxTransfers: 2,
  maxPeerBytes: 8 * PART_BYTES,
  maxMessageBytes: 8 * PART_BYTES,
  maxAsked: 4,
  maxOpenRequests: 3,
  transferIdleMs: 5000
}

/** What the application at the other end does with a message. */
const ACTS = ['take', 'slow', 'throw', 'reject', 'echo', 'much', 'question', 'late', 'takeBack'] as const
type Act = (typeof ACTS)[number]

interface Said {
  readonly at: number
  readonly act: Act
  readonly text: string
}

/** Quick: what follows comes in the same turn. */
type Step = { readonly isQuick?: boolean } & (
  | { readonly do: 'say'; readonly asks: boolean; readonly act: Act; readonly bytes: number; readonly waitMs: number }
  | { readonly do: 'arrive'; readonly from: 0 | 1; readonly frames: number }
  | { readonly do: 'cut' | 'away' | 'back' | 'abandon' | 'finish' }
  | { readonly do: 'cancel'; readonly which: number }
  | { readonly do: 'pass'; readonly ms: number }
)

const bytes = fc.oneof(
  { weight: 4, arbitrary: fc.nat({ max: 60 }) },
  { weight: 2, arbitrary: fc.integer({ min: PART_BYTES - 60, max: 4 * PART_BYTES }) }
)
const say = fc.record({
  do: fc.constant('say' as const),
  asks: fc.boolean(),
  act: fc.constantFrom(...ACTS),
  bytes,
  waitMs: fc.constantFrom(0, 0, 20_000)
})
const arrive = fc.record({
  do: fc.constant('arrive' as const),
  from: fc.constantFrom(0 as const, 1 as const),
  frames: fc.integer({ min: 1, max: 9 })
})
const event = fc.record({
  do: fc.constantFrom('cut' as const, 'away' as const, 'back' as const, 'abandon' as const, 'finish' as const)
})
const cancel = fc.record({ do: fc.constant('cancel' as const), which: fc.nat({ max: 60 }) })
const pass = fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(50, 1000, 4000, 9000) })
const arriveBack: Step = { do: 'arrive', from: 1, frames: 9 }
const arriveFrom = (from: 0 | 1) => arrive.map(step => ({ ...step, from }))
const large = (said: typeof say) => said.map(step => ({ ...step, bytes: 4 * PART_BYTES }))
const one: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: say },
  { weight: 9, arbitrary: arrive },
  { weight: 2, arbitrary: event },
  { weight: 2, arbitrary: cancel },
  { weight: 1, arbitrary: pass }
)
/** What chance alone seldom puts together. */
const scenes: ReadonlyArray<fc.Arbitrary<readonly Step[]>> = [
  // a value in parts is given up while its refusal is on its way
  fc.tuple(large(say), arriveFrom(0)).map(([said, there]) => [said, there, { do: 'cancel', which: -1 }, arriveBack]),
  // it arrives, its receipt does not, and the member does not come back in time
  fc
    .tuple(say, arriveFrom(0), fc.constantFrom(1, 3))
    .map(([said, there, times]) => [
      { ...said, waitMs: 20_000 },
      there,
      { do: 'away' as const },
      ...Array.from({ length: times }, () => ({ do: 'pass' as const, ms: 9000 }))
    ]),
  // given up and spoken to in one turn
  fc.tuple(say, say).map(([first, second]) => [{ ...first, isQuick: true }, { do: 'abandon', isQuick: true }, second])
]
const steps = fc
  .array(
    fc.oneof(
      { weight: 12, arbitrary: one.map(step => [step]) },
      ...scenes.map(arbitrary => ({ weight: 1, arbitrary }))
    ),
    {
      maxLength: 50
    }
  )
  .map(all => all.flat())

/** One call, and what became of it. */
interface Call extends Said {
  readonly asks: boolean
  readonly controller: AbortController
  outcome: 'open' | 'ok' | MusterError
}

/** Two ends of messaging, and between them a wire on which nothing moves by itself. */
class Pair {
  readonly clock = new ManualClock()
  readonly calls: Call[] = []
  /** Numbers of the calls in the order in which the application had them. */
  readonly heard: number[] = []
  readonly violations: unknown[] = []
  readonly ours = new Context(this.clock, () => this.clock.now(), LIMITS, undefined)
  readonly theirs: Context
  readonly ends: WireEnd[] = []
  readonly #held: Array<() => void> = []
  #line: Line | undefined
  #isAway = false
  readonly incoming: Incoming

  constructor(isTight: boolean) {
    const limits = isTight ? { ...LIMITS, maxPeerBytes: 4 * PART_BYTES } : LIMITS
    this.theirs = new Context(this.clock, () => this.clock.now(), limits, undefined)
    this.incoming = new Incoming({
      context: this.theirs,
      isMember: () => true,
      admit: async () => undefined,
      deliver: delivery => this.#take(delivery),
      onProgress: () => undefined,
      onJudged: () => undefined
    })
  }

  get line(): Line | undefined {
    return this.#line
  }

  async run(step: Step): Promise<void> {
    if (step.do === 'say') this.#say(step)
    else if (step.do === 'arrive') this.#arrive(step)
    else if (step.do === 'cut') this.ends.at(-1)?.break()
    else if (step.do === 'away' || step.do === 'back') {
      this.#isAway = step.do === 'away'
      if (this.#isAway) for (const end of this.ends) end.break()
      else this.#line?.retry()
    } else if (step.do === 'abandon') void this.#line?.abandon(new MusterError('gone', 'the member left'))
    else if (step.do === 'finish') this.#held.shift()?.()
    else if (step.do === 'cancel') this.calls.at(step.which)?.controller.abort()
    else if (step.do === 'pass') this.clock.advance(step.ms)
    if (step.isQuick !== true) await settle()
  }

  /** Everything arrives, everybody finishes, all time passes. */
  async end(): Promise<void> {
    this.#isAway = false
    for (let round = 0; round < 60 && this.calls.some(({ outcome }) => outcome === 'open'); round++) {
      for (const finish of this.#held.splice(0)) finish()
      for (const end of this.ends) end.arrive(100)
      await settle()
      if (round % 8 === 7) this.clock.advance(10_000)
    }
    for (let round = 0; round < 12; round++) {
      for (const end of this.ends) end.arrive(100)
      for (const finish of this.#held.splice(0)) finish()
      await settle()
    }
  }

  /** One connection keeps the order over all its streams. */
  #arrive({ from, frames }: Extract<Step, { do: 'arrive' }>): void {
    let left = frames
    for (const end of this.ends.filter((_, at) => at % 2 === from)) {
      const count = Math.min(left, end.underWay.length)
      end.arrive(count)
      left -= count
      if (end.underWay.length > 0) return
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#line?.close(), this.incoming.close()])
    await settle()
    this.clock.advance(RESEND_MEMORY_MS)
    await settle()
  }

  #say({ asks, act, bytes: length, waitMs }: Extract<Step, { do: 'say' }>): void {
    const controller = new AbortController()
    const call: Call = { at: this.calls.length, act, text: 'x'.repeat(length), asks, controller, outcome: 'open' }
    this.calls.push(call)
    const options: SendOptions = { signal: controller.signal, ...(asks ? {} : { waitMs }) }
    const value = { at: call.at, act, text: call.text }
    const onFailed = (thrown: unknown): void => {
      assert.ok(thrown instanceof MusterError, String(thrown))
      call.outcome = thrown
    }
    try {
      this.#lineNow()
        .send(value, { ...options, wantsReply: asks })
        .then(({ answer }) => {
          if (asks) assert.deepEqual(answer?.value, answerTo(value))
          call.outcome = 'ok'
          if (answer?.request !== undefined) void answer.request.respond('done').catch(() => undefined)
        })
        .catch(onFailed)
    } catch (thrown) {
      onFailed(thrown)
    }
  }

  #lineNow(): Line {
    this.#line ??= new Line(
      { to: 'bob', topicId: LOBBY.id, topicKey: LOBBY.key },
      {
        context: this.ours,
        session: 1,
        node: { isConnected: () => !this.#isAway, open: async (_to, _protocol, { first = [] }) => this.#open(first) },
        connect: async () => {
          if (this.#isAway) throw new MusterError('unreachable')
        },
        ownEnvelope: () => new Uint8Array(3),
        isKnown: () => true,
        onGone: line => {
          if (this.#line === line) this.#line = undefined
        },
        onProgress: () => undefined
      }
    )
    return this.#line
  }

  #open(first: readonly Uint8Array[]): WireEnd {
    if (this.#isAway) throw new MusterError('unreachable')
    const [near, far] = [new WireEnd('bob', false), new WireEnd('ana', true)]
    near.other = far
    far.other = near
    this.ends.push(near, far)
    near.underWay.push(...first)
    void this.incoming.serve(far)
    return near
  }

  #take({ value, request }: Delivery): void | Promise<void> {
    const said = value as unknown as Said
    const call = this.calls[said.at]
    assert.deepEqual(value, { at: said.at, act: call?.act, text: call?.text }, 'a mixture')
    assert.equal(request !== undefined, call?.asks)
    this.heard.push(said.at)
    const held = (): Promise<void> => new Promise(resolve => this.#held.push(resolve))
    const answer = async (): Promise<void> => void (await request?.respond(answerTo(said)))
    switch (said.act) {
      case 'take':
        return undefined
      case 'slow':
        return held()
      case 'throw':
        throw new Error('mine')
      case 'reject':
        return held().then(() => Promise.reject(new Error('mine')))
      case 'late':
        void held()
          .then(answer)
          .catch(() => undefined)
        return undefined
      case 'question':
        return request === undefined ? undefined : request.ask(answerTo(said)).then(() => undefined)
      case 'takeBack': {
        const controller = new AbortController()
        const answering = request?.respond(answerTo(said), { signal: controller.signal })
        void held().then(() => controller.abort())
        return answering?.then(() => undefined)
      }
      default:
        return answer()
    }
  }
}

function answerTo({ at, act }: Pick<Said, 'at' | 'act'>): string {
  return `${at}${'y'.repeat(act === 'much' || act === 'takeBack' ? 3 * PART_BYTES : 10)}`
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise(resolve => setImmediate(resolve))
}

function judge(pair: Pair): void {
  for (const { abortedWith } of pair.ends) {
    assert.ok(!isMusterError(abortedWith, 'protocol-violation'), `a violation: ${(abortedWith as Error)?.message}`)
  }
  assert.equal(new Set(pair.heard).size, pair.heard.length, `twice: ${pair.heard.join(' ')}`)
  for (const { at, outcome } of pair.calls) {
    const isHeard = pair.heard.includes(at)
    assert.notEqual(outcome, 'open', `call ${at} has no end`)
    if (outcome === 'ok') assert.ok(isHeard, `call ${at} was not heard`)
    if (outcome instanceof MusterError && /was not sent/.test(outcome.message)) {
      assert.ok(!isHeard, `call ${at} was heard: ${outcome.message}`)
    }
  }
  const small = pair.heard.filter(at => (pair.calls[at]?.text.length ?? 0) < PART_BYTES - 100)
  assert.deepEqual(
    small,
    small.toSorted((a, b) => a - b),
    'small ones keep their order'
  )
}

describe('two ends of messaging, whatever happens between them', () => {
  it('give each value once as it was, or an error; and hold nothing in the end', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), async (all, isTight) => {
        const pair = new Pair(isTight)
        for (const step of all) await pair.run(step)
        await pair.end()
        judge(pair)
        assert.equal(pair.line?.isIdle ?? true, true, 'the line is idle')
        assert.equal(pair.ours.outgoingBytes.used, 0, 'room of ours on the way out')
        assert.equal(pair.theirs.outgoingBytes.used, 0, 'room of theirs on the way out')
        assert.equal(pair.ours.incomingBytes.used, 0, 'room of ours on the way in')
        assert.equal(pair.theirs.incomingBytes.used, 0, 'room of theirs on the way in')
        await pair.close()
        assert.deepEqual(pair.incoming.held, { streams: 0, senders: 0 })
      }),
      { numRuns: 400 }
    )
  })
})
