import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { followPast, GATHER_MS, type PastNeeds, readPast } from '../../src/peer/topics/past.ts'
import { Seen } from '../../src/peer/topics/seen.ts'
import type { PeerId } from '../../src/shared/core/address.ts'
import { ManualClock, systemClock } from '../../src/shared/core/clock.ts'
import type { Answer, PastBroadcast } from '../../src/shared/history/ask.ts'
import { ENOUGH_KEEPERS, MAX_PARALLEL_ASKS } from '../../src/shared/history/limits.ts'
import { inOrder } from '../../src/shared/history/order.ts'
import { Reading } from '../../src/shared/history/reading.ts'
import { label, range, START, unsigned } from '../support/history-world.ts'

const answered = (messages: readonly PastBroadcast[]): Answer => ({ outcome: 'answered', messages })
const NEVER = new Promise<never>(() => undefined)

/** A group’s surroundings in which the test says who is there and what each answers. */
class Scene implements PastNeeds {
  readonly clock = new ManualClock(START + 60_000)
  readonly controller = new AbortController()
  readonly signal = this.controller.signal
  readonly answers = new Map<PeerId, () => Promise<Answer>>()
  readonly asked: PeerId[] = []
  own: readonly PastBroadcast[] = []
  met: ((peerId: PeerId) => void) | undefined

  keeper(peerId: PeerId, answer: readonly PastBroadcast[] | Answer | Promise<never>): void {
    const whole = Array.isArray(answer) ? answered(answer) : (answer as Answer | Promise<never>)
    this.answers.set(peerId, async () => await whole)
  }

  ask(peerId: PeerId, _limit: number, signal: AbortSignal): Promise<Answer> {
    this.asked.push(peerId)
    const stopped = new Promise<never>((_resolve, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason))
    )
    return Promise.race([this.answers.get(peerId)?.() ?? NEVER, stopped])
  }

  async kept(): Promise<readonly PastBroadcast[]> {
    return this.own
  }

  connected(): readonly PeerId[] {
    return [...this.answers.keys()]
  }

  onMet(listener: (peerId: PeerId) => void): () => void {
    this.met = listener
    return () => {
      this.met = undefined
    }
  }
}

const turns = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe('what several keepers tell', () => {
  const said = [...range(1, 12).map(n => unsigned('ana', n)), ...range(1, 12).map(n => unsigned('bob', n))]

  it('is one history: each message once, the newest, in an order that no author would deny', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.subarray(said), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 30 }),
        async (parts, limit) => {
          const reading = new Reading({ ask: async at => answered(parts[Number(at)] ?? []), clock: systemClock }, limit)
          for (const at of parts.keys()) reading.offer(String(at))
          await reading.settled()
          const union = said.filter(message => parts.some(part => part.includes(message)))
          assert.deepEqual(reading.messages.map(label), inOrder(union).slice(-limit).map(label))
        }
      )
    )
  })

  it('is whole when two have different halves', async () => {
    const scene = new Scene()
    scene.keeper(
      'one',
      said.filter((_, at) => at % 2 === 0)
    )
    scene.keeper(
      'two',
      said.filter((_, at) => at % 2 === 1)
    )
    assert.deepEqual((await readPast(scene)).map(label), inOrder(said).map(label))
  })

  it('is not hidden by those who leave out, refuse, fail or have nothing', async () => {
    const scene = new Scene()
    scene.keeper('empty', [])
    scene.keeper('half', said.slice(0, 3))
    scene.keeper('not', { outcome: 'not-kept', messages: [] })
    scene.keeper('broken', { outcome: 'failed', messages: said.slice(0, 1) })
    for (const at of range(1, 10)) scene.keeper(`none ${at}`, [])
    scene.keeper('honest', said)
    assert.deepEqual((await readPast(scene)).map(label), inOrder(said).map(label))
  })

  it('is asked of a few at a time, and of nobody else once three had something', async () => {
    let underWay = 0
    let most = 0
    const reading = new Reading(
      {
        clock: systemClock,
        async ask() {
          most = Math.max(most, ++underWay)
          await turns()
          underWay--
          return answered(said.slice(0, 2))
        }
      },
      10
    )
    for (const at of range(1, 20)) reading.offer(String(at))
    await reading.settled()
    assert.equal(most, MAX_PARALLEL_ASKS)
    assert.ok(reading.isDone)
    let asked = 0
    const count = async (): Promise<Answer> => {
      asked++
      return answered(said)
    }
    const again = new Reading({ ask: count, clock: systemClock }, 10)
    for (const at of range(1, ENOUGH_KEEPERS)) again.offer(String(at))
    await again.settled()
    again.offer('late')
    again.offer('1')
    assert.equal(asked, ENOUGH_KEEPERS)
  })
})

describe('asking for the past', () => {
  it('gives what is known when a keeper is silent for too long', async () => {
    const scene = new Scene()
    scene.keeper('silent', NEVER)
    scene.keeper(
      'honest',
      range(1, 3).map(n => unsigned('ana', n))
    )
    const reading = readPast(scene)
    await turns()
    scene.clock.advance(10_000)
    assert.deepEqual((await reading).map(label), ['ana 1', 'ana 2', 'ana 3'])
  })

  it('is not held up by a crowd of silent ones', async () => {
    const scene = new Scene()
    for (const at of range(1, 12)) scene.keeper(`silent ${at}`, NEVER)
    scene.keeper('honest', [unsigned('ana', 1)])
    const reading = readPast(scene)
    for (let second = 0; second < 10; second++) {
      await turns()
      scene.clock.advance(1_000)
    }
    assert.deepEqual((await reading).map(label), ['ana 1'])
  })

  it('counts what this peer keeps itself, and is empty when nobody is there', async () => {
    const scene = new Scene()
    assert.deepEqual(await readPast(scene), [])
    scene.own = [unsigned('ana', 7)]
    assert.deepEqual((await readPast(scene)).map(label), ['ana 7'])
  })

  it('ends with its caller, and with the group', async () => {
    const scene = new Scene()
    scene.keeper('silent', NEVER)
    const stop = new AbortController()
    const reading = readPast(scene, { signal: stop.signal })
    stop.abort()
    await assert.rejects(reading, { code: 'aborted' })
    await assert.rejects(readPast(scene, { signal: AbortSignal.abort() }), { code: 'aborted' })
    const left = readPast(scene)
    scene.controller.abort(new Error('left'))
    await assert.rejects(left, { code: 'closed' })
    await assert.rejects(readPast(scene), { code: 'closed' })
  })

  it('refuses a limit that is none', async () => {
    for (const limit of [0, -1, 1.5, 1_001, Number.NaN]) {
      await assert.rejects(readPast(new Scene(), { limit }), { code: 'options-invalid' })
    }
  })
})

describe('a newcomer that follows the past', () => {
  const odd = range(1, 9).filter(n => n % 2 === 1)
  const even = range(1, 9).filter(n => n % 2 === 0)

  it('is told in one order what two keepers tell one after the other', async () => {
    const scene = new Scene()
    scene.keeper(
      'one',
      odd.map(n => unsigned('ana', n))
    )
    const told: string[] = []
    followPast(scene, 100, message => told.push(label(message)))
    await turns()
    assert.deepEqual(told, [])
    scene.keeper(
      'two',
      even.map(n => unsigned('ana', n))
    )
    scene.met?.('two')
    await turns()
    scene.clock.advance(GATHER_MS)
    assert.deepEqual(
      told,
      range(1, 9).map(n => `ana ${n}`)
    )
  })

  it('waits for nobody once three keepers had something, and asks nobody else', async () => {
    const scene = new Scene()
    for (const at of range(1, 3)) scene.keeper(`keeper ${at}`, [unsigned('ana', at)])
    const told: string[] = []
    followPast(scene, 100, message => told.push(label(message)))
    await turns()
    assert.deepEqual([...new Set(told)], ['ana 1', 'ana 2', 'ana 3'])
    assert.equal(scene.met, undefined)
  })

  it('hears from a keeper met later what was missing, and is delayed by no silent one', async () => {
    const scene = new Scene()
    scene.keeper('silent', NEVER)
    scene.keeper('one', [unsigned('ana', 2)])
    const seen = new Seen()
    const told: string[] = []
    followPast(scene, 100, message => seen.add(message.author, message.sequence) && told.push(label(message)))
    await turns()
    scene.clock.advance(GATHER_MS)
    assert.deepEqual(told, ['ana 2'])
    scene.keeper(
      'two',
      range(1, 3).map(n => unsigned('ana', n))
    )
    scene.met?.('two')
    await turns()
    scene.clock.advance(GATHER_MS)
    assert.deepEqual(told, ['ana 2', 'ana 1', 'ana 3'])
  })

  it('is told nothing after the group was left', async () => {
    const scene = new Scene()
    scene.keeper('one', [unsigned('ana', 2)])
    const told: string[] = []
    const stop = followPast(scene, 100, message => told.push(label(message)))
    await turns()
    scene.controller.abort(new Error('left'))
    stop()
    scene.clock.advance(GATHER_MS)
    assert.deepEqual(told, [])
  })
})

describe('what was seen', () => {
  it('is new once, whatever is forgotten in between', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ author: fc.constantFrom('ana', 'bob'), sequence: fc.nat(30) }), { maxLength: 200 }),
        all => {
          const seen = new Seen({ maxSeen: 5 })
          const told = all.filter(({ author, sequence }) => seen.add(author, sequence)).map(label)
          assert.equal(new Set(told).size, told.length)
        }
      )
    )
  })

  it('lets everything through that comes in order, however much it is', () => {
    const seen = new Seen({ maxSeen: 5, maxAuthors: 2 })
    for (const sequence of range(1, 100)) for (const who of ['ana', 'bob', 'cem']) assert.ok(seen.add(who, sequence))
  })
})
