import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { base58btc } from 'multiformats/bases/base58'
import type { PeerId } from '../../src/shared/core/address.ts'
import { closestTo } from '../../src/shared/node/position.ts'
import { Frontier } from '../../src/shared/records/frontier.ts'
import { MAX_ASKED_NODES, MAX_CANDIDATES, REPLICAS } from '../../src/shared/records/limits.ts'

type State = 'new' | 'asked' | 'slow' | 'answered' | 'failed'

/** Asked at once. */
const PARALLEL = 10
const TARGET = new Uint8Array(32).fill(0x5a)
/** Peer ids, the closest to the target first. */
const IDS = closestTo(
  TARGET,
  Array.from({ length: 1_200 }, (_, at) => idOf(at)),
  1_200,
  id => id
)
const SELF = idOf(1_000_000)

function idOf(at: number): PeerId {
  const key = new Uint8Array(32)
  new DataView(key.buffer).setUint32(0, at)
  return base58btc.baseEncode(Uint8Array.from([0, 36, 8, 1, 18, 32, ...key]))
}

const named = (those: readonly PeerId[]) => those.map(peerId => ({ peerId, addresses: [] }))
const ids = (from: number, to: number) => named(IDS.slice(from, to))

/** The same by force: sorts everything each time. */
class Model {
  readonly states = new Map<PeerId, State>()
  asked = 0

  near(): PeerId[] {
    const alive = IDS.filter(id => {
      const state = this.states.get(id)
      return state !== undefined && state !== 'failed' && state !== 'slow'
    })
    return alive.slice(0, REPLICAS)
  }

  next(): PeerId | undefined {
    const near = this.near()
    if (this.asked >= MAX_ASKED_NODES) return undefined
    if (near.filter(id => this.states.get(id) === 'asked').length >= PARALLEL) return undefined
    const chosen = near.find(each => this.states.get(each) === 'new')
    if (chosen !== undefined) {
      this.states.set(chosen, 'asked')
      this.asked++
    }
    return chosen
  }

  settled(id: PeerId, state: State): void {
    const old = this.states.get(id)
    if (old === 'asked' || old === 'slow') this.states.set(id, state)
  }

  get isThrough(): boolean {
    const near = this.near().map(id => this.states.get(id))
    return !near.includes('asked') && (!near.includes('new') || this.asked >= MAX_ASKED_NODES)
  }

  closest(): PeerId[] {
    return IDS.filter(id => this.states.get(id) === 'answered').slice(0, REPLICAS)
  }
}

describe('the frontier of a walk', () => {
  it('does what a model does that sorts everything each time', () => {
    const index = fc.nat(250) // fewer than are kept in mind
    const commandOf = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), which: fc.array(index, { maxLength: 25 }) }),
      fc.record({ kind: fc.constant('next' as const) }),
      fc.record({
        kind: fc.constant('settle' as const),
        which: index,
        state: fc.constantFrom('slow' as const, 'answered' as const, 'failed' as const)
      }),
      // one that was asked, so that walks get far
      fc.record({
        kind: fc.constant('answer' as const),
        which: fc.nat(PARALLEL),
        state: fc.constantFrom('slow' as const, 'answered' as const, 'failed' as const)
      })
    )
    fc.assert(
      fc.property(fc.array(commandOf, { minLength: 1, maxLength: 150 }), commands => {
        const [frontier, model] = [new Frontier(TARGET, SELF, []), new Model()]
        for (const command of commands) {
          if (command.kind === 'add') {
            const which = command.which.map(at => IDS[at] as PeerId)
            frontier.add(named([...which, SELF]))
            for (const each of which) if (!model.states.has(each)) model.states.set(each, 'new')
          } else if (command.kind === 'next') assert.equal(frontier.next(PARALLEL)?.peerId, model.next())
          else {
            const pending = [...model.states].filter(([, state]) => state === 'asked').map(([asked]) => asked)
            const id = command.kind === 'settle' ? IDS[command.which] : pending[command.which]
            if (id === undefined) continue
            frontier.settled(id, command.state)
            model.settled(id, command.state)
          }
          assert.equal(frontier.isThrough, model.isThrough)
          assert.deepEqual(
            frontier.closest().map(({ peerId }) => peerId),
            model.closest()
          )
          const count = (wanted: string): number => [...model.states.values()].filter(state => state === wanted).length
          assert.equal(frontier.canLeaveSlow, count('answered') >= 2 * count('slow'))
        }
      })
    )
  })

  it('ends, and asks nobody twice, whatever the nodes answer', () => {
    const answer = fc.record({
      state: fc.constantFrom('slow' as const, 'answered' as const, 'failed' as const),
      names: fc.array(fc.nat(IDS.length - 1), { maxLength: REPLICAS })
    })
    fc.assert(
      fc.property(
        fc.array(fc.nat(300), { minLength: 1, maxLength: 20 }),
        fc.infiniteStream(answer),
        (start, answers) => {
          const frontier = new Frontier(TARGET, SELF, [])
          frontier.add(named(start.map(at => IDS[at] as PeerId)))
          const asked = new Set<PeerId>()
          const answered = new Set<PeerId>()
          const pending: PeerId[] = []
          for (let turns = 0; !frontier.isThrough; turns++) {
            assert.ok(turns <= MAX_ASKED_NODES + 1)
            for (let node = frontier.next(PARALLEL); node !== undefined; node = frontier.next(PARALLEL)) {
              assert.ok(!asked.has(node.peerId), 'asked twice')
              asked.add(node.peerId)
              pending.push(node.peerId)
            }
            const from = pending.shift()
            const [{ state, names }] = answers.take(1) as unknown as [
              { state: 'slow' | 'answered' | 'failed'; names: number[] }
            ]
            if (from === undefined) continue
            frontier.add(named(names.map(at => IDS[at] as PeerId)))
            frontier.settled(from, state)
            if (state === 'answered') answered.add(from)
          }
          assert.ok(asked.size <= MAX_ASKED_NODES)
          for (const { peerId } of frontier.closest()) assert.ok(answered.has(peerId), 'only those that answered')
        }
      )
    )
  })

  it('keeps an honest node, however many that are farther are named', () => {
    const frontier = new Frontier(TARGET, SELF, [])
    const honest = ids(100, 120)
    frontier.add(honest)
    for (let from = 120; from < IDS.length; from += REPLICAS) frontier.add(ids(from, from + REPLICAS))
    for (const node of honest) {
      assert.equal(frontier.next(PARALLEL)?.peerId, node.peerId)
      frontier.settled(node.peerId, 'answered')
    }
    assert.ok(frontier.isThrough)
    assert.deepEqual(frontier.closest(), honest)
  })

  it('comes to the honest nodes behind those that are closer and fail', () => {
    const frontier = new Frontier(TARGET, SELF, [])
    const honest = ids(60, 80)
    frontier.add(honest)
    frontier.add(ids(0, 60))
    for (let node = frontier.next(PARALLEL); node !== undefined; node = frontier.next(PARALLEL)) {
      frontier.settled(node.peerId, IDS.indexOf(node.peerId) < 60 ? 'failed' : 'answered')
    }
    assert.ok(frontier.isThrough)
    assert.deepEqual(frontier.closest(), honest)
  })

  it('remembers those that answered, however many that are closer are named', () => {
    const frontier = new Frontier(TARGET, SELF, [])
    const honest = ids(MAX_CANDIDATES, MAX_CANDIDATES + 10)
    frontier.add(honest)
    for (let node = frontier.next(PARALLEL); node !== undefined; node = frontier.next(PARALLEL))
      frontier.settled(node.peerId, 'answered')
    frontier.add(ids(0, MAX_CANDIDATES))
    assert.equal(frontier.closest().length, honest.length)
  })
})
