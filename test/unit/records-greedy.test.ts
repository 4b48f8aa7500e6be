import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import { placeOf } from '../../src/shared/records/key.ts'
import {
  NEW_KEYS_PER_SECOND,
  RECORD_REQUESTS_BURST,
  RECORD_REQUESTS_PER_SECOND
} from '../../src/shared/records/limits.ts'
import {
  MAX_RECORD_FRAME_BYTES,
  RECORD_PROTOCOL,
  type RecordFrame,
  recordFrameCodec
} from '../../src/shared/wire/record.ts'
import { RecordCaller, recordOf } from '../support/record-caller.ts'
import { serveByHand } from '../support/record-hostiles.ts'
import { heldIn } from '../support/record-town.ts'
import { type Holder, json, mesh, open, RecordWorld, read } from '../support/record-world.ts'

// One node that wants more than its share of another: of its memory, its time, its patience.

const COLOUR = open('colour')
const PLACE = placeOf(COLOUR)
const LARGE = json('x'.repeat(8_000))

describe('one peer of a holder of records', () => {
  it('brings so many new keys at once and a second, and no more', async () => {
    const clock = new ManualClock()
    await using world = new RecordWorld({ clock })
    const holder = await world.holder()
    const attacker = await world.network.createNode()
    await attacker.connect({ peerId: holder.node.peerId, addresses: holder.node.addresses })
    const line = await RecordCaller.dial(attacker, holder.node.peerId)
    const mallory = await createIdentity(new Uint8Array(32))
    const flood = async (from: number, count: number): Promise<number> => {
      const records = await Promise.all(
        Array.from({ length: count }, (_, at) =>
          recordOf(mallory, { issuedMs: clock.now(), key: open(`${from + at}`) })
        )
      )
      const refusals = await Promise.all(records.map(record => line.store(record)))
      return refusals.filter(refusal => refusal === undefined).length
    }
    const atOnce = RECORD_REQUESTS_BURST / 2
    assert.equal(await flood(0, atOnce + 100), atOnce)
    assert.equal(await flood(10_000, 100), 0)
    clock.advance(1_000)
    const aSecond = await flood(20_000, RECORD_REQUESTS_PER_SECOND)
    assert.ok(aSecond >= NEW_KEYS_PER_SECOND && aSecond <= RECORD_REQUESTS_PER_SECOND / 2, String(aSecond))
    assert.equal(holder.records.counts.records, atOnce + aSecond)
  })

  it('is answered no faster than it reads', async () => {
    let served = 0
    await using world = new RecordWorld()
    const holder = await world.holder({ needs: { onRequest: () => void served++ } })
    const other = await world.holder()
    const attacker = await world.network.createNode()
    await mesh([holder, other])
    await attacker.connect({ peerId: holder.node.peerId, addresses: holder.node.addresses })
    await other.records.put(COLOUR, LARGE)
    served = 0
    const channel = await attacker.open(holder.node.peerId, RECORD_PROTOCOL, { maxFrameBytes: MAX_RECORD_FRAME_BYTES })
    for (let id = 1; id <= 2_000; id++) {
      channel.send(recordFrameCodec.encode({ find: { id, place: PLACE } })).catch(() => undefined)
    }
    for (let turns = 0; turns < 50; turns++) await world.network.settle()
    assert.ok(served > 0 && served < 500, `${served} answers of 8 kB wait for somebody who does not read`)
    assert.equal(read(await other.records.get(COLOUR)), 'x'.repeat(8_000), 'others are answered')
  })

  it('that watches and does not read loses its stream, instead of all changes waiting for it', async () => {
    await using world = new RecordWorld()
    const [holder, writer] = await world.holders(2)
    assert.ok(holder && writer)
    const attacker = await world.network.createNode()
    await attacker.connect({ peerId: holder.node.peerId, addresses: holder.node.addresses })
    await writer.records.put(COLOUR, LARGE)
    const channel = await attacker.open(holder.node.peerId, RECORD_PROTOCOL, { maxFrameBytes: MAX_RECORD_FRAME_BYTES })
    await channel.send(recordFrameCodec.encode({ find: { id: 1, place: PLACE, watch: true } }))
    for (let at = 0; at < 100; at++) await writer.records.put(COLOUR, LARGE)
    assert.ok(channel.signal.aborted, '800 kB of changes wait for it')
  })
})

describe('one node that is asked for records', () => {
  /** Honest holders and one that answers by hand, all acquainted, in time that stands still. */
  async function worldWith(
    respond: (frame: RecordFrame) => RecordFrame[],
    honest: Array<Parameters<RecordWorld['holder']>[0]>
  ): Promise<{ world: RecordWorld; holders: Holder[] }> {
    const world = new RecordWorld({ clock: new ManualClock() })
    const holders: Holder[] = []
    for (const options of honest) holders.push(await world.holder(options))
    const evil = await world.network.createNode({ answersAlone: true })
    serveByHand(evil, respond)
    await mesh(holders)
    for (const { node } of holders) await evil.connect({ peerId: node.peerId, addresses: node.addresses })
    return { world, holders }
  }
  const wrong = ({ find, store, offers }: RecordFrame): RecordFrame[] => {
    if (find !== undefined) return [{ stored: { id: find.id, closer: [] } }]
    return [{ found: { id: (store ?? offers)?.id ?? 0, closer: [] } }]
  }

  it('and answers with something else has failed at once: nobody waits for it', async () => {
    const { world, holders } = await worldWith(wrong, [{}, {}, {}, {}])
    await using _ = world
    const [reader, writer] = holders as [Holder, Holder]
    const stored = writer.records.put(COLOUR, json('blue'))
    let found: unknown = 'waits'
    stored
      .then(() => reader.records.get(COLOUR))
      .then(
        each => {
          found = read(each)
        },
        () => undefined // the world was closed meanwhile
      )
    for (let turns = 0; turns < 50; turns++) await world.network.settle()
    assert.equal(found, 'blue')
  })

  it('and answers offers with something else does not keep a holder from offering to others', async () => {
    const { world, holders } = await worldWith(wrong, [{}, {}])
    await using _ = world
    const [one, newcomer] = holders as [Holder, Holder]
    for (const name of ['first', 'second']) {
      const record = await recordOf(await createIdentity(), { issuedMs: world.clock.now(), key: open(name) })
      assert.equal((await one.records.restore(record.envelope)).outcome, 'stored')
      void one.records.republish()
      for (let turns = 0; turns < 50; turns++) await world.network.settle()
      assert.equal(await heldIn(newcomer.store, record.place), 'a value', name)
    }
  })

  it('and tells of changes nobody watches costs no signatures', async () => {
    let unsealed = 0
    const counted: typeof unseal = (...given) => {
      unsealed++
      return unseal(...given)
    }
    const clock = new ManualClock()
    const { envelope } = await recordOf(await createIdentity(), { issuedMs: clock.now(), key: open('other') })
    let told = 0
    const respond = ({ find }: RecordFrame): RecordFrame[] => {
      if (find === undefined) return []
      const changes = Array.from({ length: 500 }, () => ({ changed: { envelope } }))
      told += changes.length
      return [...changes, { found: { id: find.id, closer: [] } }]
    }
    const { world, holders } = await worldWith(respond, [{ needs: { unseal: counted } }])
    await using _ = world
    assert.equal(await holders[0]?.records.get(COLOUR), undefined)
    for (let turns = 0; turns < 20; turns++) await world.network.settle()
    assert.equal(told, 500)
    assert.ok(unsealed < 10, `${unsealed} signatures were verified for it`)
  })
})
