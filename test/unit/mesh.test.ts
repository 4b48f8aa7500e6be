import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type KnownMember,
  leastWanted,
  MAX_KNOWN_MEMBERS,
  MAX_PARALLEL_REACHES,
  type MeshPlan,
  planMesh,
  REACH_MAX_MS,
  REACH_MIN_MS,
  reachPauseMs,
  YIELD_LONG_MS,
  YIELD_SHORT_MS,
  yieldMs
} from '../../src/peer/topics/mesh.ts'
import type { Emitter } from '../../src/shared/core/events.ts'
import { type MemberRecord, peekRecord } from '../../src/shared/roster/record.ts'
import type { RosterEvents } from '../../src/shared/roster/roster.ts'
import { Village } from '../support/fake-peer.ts'
import { madeUpRecord, strangerAt } from '../support/fake-stranger.ts'

const NOW = 1_000

function known(members: Record<string, Partial<KnownMember>>): Map<string, KnownMember> {
  const fresh = { record: {} as MemberRecord, isShown: false, isBeingReached: false, failures: 0, retryAt: 0 }
  return new Map(Object.entries(members).map(([peerId, member]) => [peerId, { ...fresh, state: 'vouched', ...member }]))
}

const cases: Array<[string, Record<string, Partial<KnownMember>>, number, Omit<MeshPlan, 'forget'>]> = [
  [
    'reaches whom it heard of',
    { a: {}, b: { state: 'rumour' } },
    9,
    { reach: ['a', 'b'], list: [], nextAt: undefined }
  ],
  [
    'leaves whom it has reached, or is reaching',
    { a: { state: 'live' }, b: { isBeingReached: true } },
    9,
    { reach: [], list: [], nextAt: undefined }
  ],
  [
    'prefers those vouched for, and those that have not failed',
    { a: { failures: 1 }, b: { state: 'rumour' }, c: {} },
    2,
    { reach: ['c', 'b'], list: ['a'], nextAt: undefined }
  ],
  [
    'waits until a member is due',
    { a: { retryAt: NOW + 5 }, b: { retryAt: NOW + 9, state: 'rumour' } },
    9,
    { reach: [], list: [], nextAt: NOW + 5 }
  ],
  [
    'lists one that is vouched for and could not be reached',
    { a: { failures: 1, retryAt: NOW + 5 } },
    9,
    { reach: [], list: ['a'], nextAt: NOW + 5 }
  ],
  [
    'lists it once',
    { a: { failures: 1, retryAt: NOW + 5, isShown: true } },
    9,
    { reach: [], list: [], nextAt: NOW + 5 }
  ],
  [
    'does not list a rumour that could not be reached',
    { a: { state: 'rumour', failures: 1, retryAt: NOW + 5 } },
    9,
    { reach: [], list: [], nextAt: NOW + 5 }
  ],
  [
    'lists the rest when the mesh is full',
    { a: { state: 'live' }, b: {}, c: { state: 'rumour' }, d: { state: 'rumour', failures: 1 } },
    1,
    { reach: [], list: ['b', 'c'], nextAt: undefined }
  ],
  [
    'reaches whom a stranger named, and lists nobody on its word',
    { a: { state: 'live' }, b: { state: 'claimed' } },
    2,
    { reach: ['b'], list: [], nextAt: undefined }
  ],
  [
    'lists nobody on the word of a stranger when the mesh is full either',
    { a: { state: 'live' }, b: { state: 'claimed' } },
    1,
    { reach: [], list: [], nextAt: undefined }
  ],
  [
    'never lists one that is lost, but tries it again',
    { a: { state: 'lost', failures: 1 } },
    9,
    { reach: ['a'], list: [], nextAt: undefined }
  ],
  [
    'leaves the lost alone when the mesh is full',
    { a: { state: 'live' }, b: { state: 'lost', failures: 1 } },
    1,
    { reach: [], list: [], nextAt: undefined }
  ]
]

describe('who is forgotten when too many are known', () => {
  const forgotten: Array<[string, Record<string, Partial<KnownMember>>, string | undefined]> = [
    ['the first that a stranger named', { a: {}, b: { state: 'lost' }, c: { state: 'claimed' } }, 'c'],
    ['then the first that is lost', { a: { state: 'live' }, b: { state: 'lost' }, c: { state: 'lost' } }, 'b'],
    ['nobody who is reached, or vouched for', { a: {}, b: { state: 'live' } }, undefined],
    ['nobody who is being reached', { a: { state: 'lost', isBeingReached: true } }, undefined]
  ]
  for (const [who, members, peerId] of forgotten) {
    it(who, () => assert.equal(leastWanted(known(members)), peerId))
  }

  it('so that a newcomer is listed, whatever a stranger told before', { timeout: 120_000 }, async () => {
    await using village = new Village()
    const bootstrap = await village.bootstrap()
    const options = { bootstrap: [bootstrap.address], maxMesh: 1 }
    const [ana, bob] = [await village.peer(options), await village.peer(options)]
    await Promise.all([ana.join(), bob.join()])
    await village.until('the mesh is full', 10_000, () => ana.sees().length === 1)
    const stranger = await strangerAt(village, ana)
    await stranger.flood(MAX_KNOWN_MEMBERS)
    const cy = await village.peer(options)
    village.network.cut(ana.node, cy.node)
    await cy.join()
    await village.until('ana lists cy, whom the bootstrap vouches for', 10_000, () => ana.sees().includes(cy.peerId))
  })
})

describe('what a group knows', () => {
  it('does not grow, whoever comes and is lost again', { timeout: 120_000 }, async () => {
    await using village = new Village()
    const ana = await village.peer()
    const group = await ana.join()
    const events = ana.roster as unknown as Emitter<RosterEvents>
    const names = Array.from({ length: MAX_KNOWN_MEMBERS + 900 }, (_, number) => `made up ${number}`)
    for (const peerId of names) {
      const record = peekRecord(await madeUpRecord(village, peerId))
      events.emit('live', record)
      events.emit('gone', { record, reason: 'lost' })
    }
    assert.equal(names.filter(peerId => group.knows(peerId)).length, MAX_KNOWN_MEMBERS)
    assert.ok(group.knows(names.at(-1) ?? ''))
  })
})

describe('the plan of a mesh', () => {
  for (const [what, members, maxMesh, plan] of cases) {
    it(what, () => assert.deepEqual(planMesh(NOW, known(members), maxMesh), { forget: [], ...plan }))
  }

  it('forgets those that are lost, or that a stranger named, when it is full and their records count no more', () => {
    const past = { record: { expiresMs: NOW } as MemberRecord }
    const members: Record<string, Partial<KnownMember>> = {
      lost: { ...past, state: 'lost' },
      claimed: { ...past, state: 'claimed' },
      again: { ...past, state: 'lost', isBeingReached: true },
      vouched: { ...past, isShown: true },
      counts: { record: { expiresMs: NOW + 1 } as MemberRecord, state: 'lost' },
      live: { ...past, state: 'live' }
    }
    assert.deepEqual(planMesh(NOW, known(members), 2).forget, ['lost', 'claimed'])
    assert.deepEqual(planMesh(NOW, known(members), 9).forget, [])
  })

  it('reaches so many at once', () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, number) => [`p${number}`, {}]))
    assert.equal(planMesh(NOW, known(many)).reach.length, MAX_PARALLEL_REACHES)
  })

  it('waits longer after each failure, up to a limit', () => {
    assert.deepEqual([1, 2, 3].map(reachPauseMs), [REACH_MIN_MS, 2 * REACH_MIN_MS, 4 * REACH_MIN_MS])
    assert.equal(reachPauseMs(100), REACH_MAX_MS)
  })

  it('lets one of two dial: who asked at once, otherwise the lower peer id first', () => {
    assert.deepEqual([yieldMs('a', 'b', true), yieldMs('b', 'a', true)], [0, 0])
    assert.deepEqual([yieldMs('a', 'b', false), yieldMs('b', 'a', false)], [YIELD_SHORT_MS, YIELD_LONG_MS])
  })
})
