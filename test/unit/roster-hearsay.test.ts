import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { MusterError } from '../../src/shared/core/errors.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import type { Node } from '../../src/shared/node/port.ts'
import { MAX_PARALLEL_HEARSAY_PROBES, MAX_RECORD_VALIDITY_MS, MAX_RUMOURS } from '../../src/shared/roster/limits.ts'
import { type MemberRecord, signRecord } from '../../src/shared/roster/record.ts'
import { Suspects } from '../../src/shared/roster/suspects.ts'
import { RosterTable, type Source } from '../../src/shared/roster/table.ts'
import { Turns } from '../../src/shared/roster/turns.ts'
import { MAX_TOPIC_FRAME_BYTES, TOPIC_PROTOCOL, topicFrameCodec } from '../../src/shared/wire/topic.ts'
import { EventClock } from '../support/event-clock.ts'
import { plainSeal, Village } from '../support/fake-peer.ts'

const lobby = await topicOf('lobby')

const recordOf = (peerId: string): MemberRecord => ({
  topicId: lobby.id,
  topicKey: lobby.key,
  peerId,
  sequence: 1,
  issuedMs: 0,
  expiresMs: 1,
  addresses: [],
  name: undefined,
  left: false,
  envelope: new Uint8Array()
})
const rumourOf = (by: string): Source => ({ kind: 'rumour', by })

/** Checks that never end, of a table; `dialled` says in which order they began. */
function stuckChecks(table: RosterTable, scope: AbortController): { suspects: Suspects; dialled: string[] } {
  const dialled: string[] = []
  const node: Pick<Node, 'isConnected' | 'connect'> = {
    isConnected: () => false,
    connect: async ({ peerId = '' }) => {
      dialled.push(peerId)
      return await new Promise((_resolve, reject) => {
        scope.signal.addEventListener('abort', () => reject(new MusterError('closed')), { once: true })
      })
    }
  }
  const suspects = new Suspects({
    node,
    table,
    clock: new EventClock(),
    signal: scope.signal,
    greet: async () => undefined,
    lose: (topicId, peerId) => void table.remove(topicId, peerId)
  })
  return { suspects, dialled }
}

describe('turns', () => {
  it('serve owners one after the other, however much one of them wants', async () => {
    const turns = new Turns(1)
    const done: string[] = []
    const gate = Promise.withResolvers<void>()
    turns.add('loud', () => gate.promise)
    for (const name of ['loud 1', 'loud 2', 'loud 3', 'loud 4']) turns.add('loud', async () => void done.push(name))
    for (const name of ['quiet 1', 'quiet 2']) turns.add('quiet', async () => void done.push(name))
    gate.resolve()
    await turn()
    assert.deepEqual(done, ['loud 1', 'quiet 1', 'loud 2', 'quiet 2', 'loud 3', 'loud 4'])
  })
})

describe('checks', () => {
  it('of members we have reached do not wait behind made-up ones', async () => {
    const table = new RosterTable()
    const scope = new AbortController()
    const { suspects, dialled } = stuckChecks(table, scope)
    for (let i = 0; i < 100; i++) {
      table.apply(recordOf(`made up ${i}`), i % 2 === 0 ? rumourOf('x') : { kind: 'vouched', by: 'x' })
      suspects.check(`made up ${i}`)
    }
    assert.equal(dialled.length, MAX_PARALLEL_HEARSAY_PROBES)
    table.apply(recordOf('ana'), { kind: 'direct' })
    suspects.check('ana')
    assert.equal(dialled.at(-1), 'ana')
    scope.abort()
    await turn()
  })

  it('of a member that came by itself while its rumour waited do not wait any more', async () => {
    const table = new RosterTable()
    const scope = new AbortController()
    const { suspects, dialled } = stuckChecks(table, scope)
    for (const peerId of [...Array.from({ length: 50 }, (_, i) => `made up ${i}`), 'ana']) {
      table.apply(recordOf(peerId), rumourOf('x'))
      suspects.check(peerId)
    }
    assert.ok(!dialled.includes('ana'))
    table.apply(recordOf('ana'), { kind: 'direct' })
    suspects.check('ana')
    assert.deepEqual(
      dialled.filter(peerId => peerId === 'ana'),
      ['ana']
    )
    scope.abort()
    await turn()
  })
})

describe('the roster table', () => {
  it('knows whose rumour has to go when there are too many', () => {
    const table = new RosterTable()
    for (let i = 0; i < 3; i++) table.apply(recordOf(`a${i}`), rumourOf('loud'))
    table.apply(recordOf('b0'), rumourOf('quiet'))
    assert.equal(table.rumourCount, 4)
    assert.equal(table.lastRumourOfTheLoudest('newcomer')?.record.peerId, 'a2')
    assert.equal(table.lastRumourOfTheLoudest('quiet')?.record.peerId, 'a2')
    assert.equal(table.lastRumourOfTheLoudest('loud'), undefined)
    table.apply(recordOf('a2'), { kind: 'direct' })
    table.apply({ ...recordOf('a1'), sequence: 2, left: true }, rumourOf('loud'))
    assert.equal(table.rumourCount, 2)
    assert.equal(table.lastRumourOfTheLoudest('quiet'), undefined)
    table.remove(lobby.id, 'a0')
    table.remove(lobby.id, 'b0')
    assert.equal(table.rumourCount, 0)
  })
})

describe('a bootstrap that strangers tell of made-up members', () => {
  it('holds a bounded number of them, and still finds those that another bootstrap tells of', async () => {
    await using village = new Village()
    const first = await village.bootstrap()
    const second = await village.bootstrap({ bootstrap: [first.address] })
    const silent = await village.peer()
    village.network.freeze(silent.node) // whoever dials it waits for long
    let most = 0
    const undo = village.clock.every(20, () => {
      most = Math.max(most, first.roster.counts.members)
    })
    for (const name of ['x', 'y', 'z']) await flood(village, name, first.address, silent.address)
    await village.pass(100)
    assert.equal(most, MAX_RUMOURS)
    const ana = await village.peer({ bootstrap: [second.address] })
    const bob = await village.peer({ bootstrap: [first.address] })
    await Promise.all([ana.join(), bob.join()])
    const bootstraps = [first, second]
    await village.until('they meet', 30_000, () => ana.sees().length === 1 && bob.sees().length === 1)
    assert.ok(first.roster.counts.members > MAX_RUMOURS / 2, 'the flood was still being checked')
    await village.until('nobody made up is left', 3_600_000, () =>
      bootstraps.every(({ roster }) => roster.members(lobby.id).length === 2)
    )
    undo()
    assert.ok(most <= MAX_RUMOURS + 2, `${most} members at once`)
    assert.deepEqual(bob.told().length, 1)
  })
})

/** A stranger of `name` that watches the lobby tells `target` of 600 people at `address`. */
async function flood(village: Village, name: string, target: string, address: string): Promise<void> {
  const stranger = await village.peer()
  const connecting = stranger.node.connect({ address: target })
  await village.pass(200)
  const opening = stranger.node.open(await connecting, TOPIC_PROTOCOL, { maxFrameBytes: MAX_TOPIC_FRAME_BYTES })
  await village.pass(200)
  const channel = await opening
  void channel.send(topicFrameCodec.encode({ hello: { topic: lobby.key } }))
  const issuedMs = village.clock.now()
  for (let i = 0; i < 600; i++) {
    const peerId = `${name} ${i}`
    const signer = { peerId, seal: (_domain: string, payload: Uint8Array) => plainSeal(peerId, payload) }
    const { envelope } = await signRecord(signer, {
      topicKey: lobby.key,
      sequence: 1,
      issuedMs,
      expiresMs: issuedMs + MAX_RECORD_VALIDITY_MS,
      addresses: [address],
      name: undefined,
      left: false
    })
    channel.send(topicFrameCodec.encode({ update: { topic: lobby.key, envelope } })).catch(() => undefined)
  }
}
