import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { base58btc } from 'multiformats/bases/base58'
import { hexOf } from '../../src/shared/core/bytes.ts'
import { contentKey, placeOf } from '../../src/shared/records/key.ts'
import { peekRecord } from '../../src/shared/records/record.ts'
import { MAX_RECORD_VALUE_BYTES } from '../../src/shared/wire/record.ts'
import { eventually } from '../support/eventually.ts'
import { kadOf, plainNode, Scope, shiftableTime, T1_CURE } from '../support/plain.ts'
import { type RecordArena, recordArena } from '../support/record-arena.ts'
import { recordOf } from '../support/record-caller.ts'
import { serveHostile } from '../support/record-hostiles.ts'
import { type PlainWorld, plainKey, plainWorld, put, sealed, select, validate } from '../support/record-plain.ts'
import { json, open, read } from '../support/record-world.ts'

// Each attack runs twice in one test: on kad-dht with values as a careful user would keep them (signed, numbered, dated, with
// a validator and a selector), and on Muster's records. Where a trap says that kad-dht falls, it has to fall.

const TEST = { timeout: 60_000 }
const MINUTE_MS = 60_000
const COLOUR = open('colour')

type End = 'holds' | 'falls'
const falls = (isSo: boolean): End => (isSo ? 'falls' : 'holds')

interface Attack {
  readonly what: string
  /** How it ends on kad-dht, and why. */
  readonly plainEnds: End
  readonly because: string
  plain(world: PlainWorld, scope: Scope): Promise<End>
  ours(arena: RecordArena, scope: Scope): Promise<End>
}

const ATTACKS: readonly Attack[] = [
  {
    what: 'an older value over a newer one',
    plainEnds: 'falls',
    because: 'T5: a put overwrites whatever is there',
    async plain({ author, bring, holds }) {
      const now = Date.now()
      assert.ok(await bring('colour', await sealed(author, { sequence: now, text: 'new' })))
      await bring('colour', await sealed(author, { sequence: now - 1, text: 'old' }))
      return falls((await holds('colour')) === 'old')
    },
    async ours({ author, line, holds }) {
      const now = Date.now()
      const [older, newer] = [
        await recordOf(author, { issuedMs: now - 1, text: 'old' }),
        await recordOf(author, { issuedMs: now, text: 'new' })
      ]
      assert.equal(await line.store(newer), undefined)
      const { stored } = await line.ask(id => ({ store: { id, envelope: older.envelope } }))
      assert.equal(stored?.refusal, 'older')
      assert.deepEqual(peekRecord(stored?.newer as Uint8Array).digest, newer.digest, 'it says than what')
      return falls((await holds(COLOUR)) !== 'new')
    }
  },
  {
    what: 'a value brought under another key than it is of',
    plainEnds: 'falls',
    because: 'T14: the key of the message and the key of the record may differ, and the put is acknowledged',
    async plain({ author, bring, holds }) {
      const isAcknowledged = await bring('colour', await sealed(author, { key: '/v/other' }), 'other')
      return falls(isAcknowledged && (await holds('colour')) === undefined)
    },
    async ours({ author, mallory, line, holds }) {
      const key = contentKey(json('a value').kind, json('a value').body)
      assert.equal(await line.store(await recordOf(mallory, { key, text: 'another value' })), 'malformed')
      const theirs = { kind: 'owned', owner: author.peerId, name: 'diary' } as const
      // what is signed says whose the name is: it lands under mallory's own
      assert.equal(await line.store(await recordOf(mallory, { key: theirs })), undefined)
      const mallorys = { ...theirs, owner: mallory.peerId }
      assert.equal(await holds(mallorys), 'a value')
      return falls((await holds(key)) !== undefined || (await holds(theirs)) !== undefined)
    }
  },
  {
    what: 'a value that is far too large',
    plainEnds: 'falls',
    because: 'T14: 3.9 MiB are taken',
    async plain({ author, bring, holds }) {
      const large = 'x'.repeat(3.9 * 1_048_576)
      await bring('colour', await sealed(author, { text: large }))
      return falls((await holds('colour')) === large)
    },
    async ours({ mallory, line, holds }) {
      const body = new TextEncoder().encode(JSON.stringify('x'.repeat(MAX_RECORD_VALUE_BYTES - 1)))
      assert.equal(await line.store(await recordOf(mallory, { value: { ...json(''), body } })), 'malformed')
      const end = falls((await holds(COLOUR)) !== undefined)
      await assert.rejects(line.store({ envelope: new Uint8Array(12_000) }), 'no envelope is that long: a broken frame')
      await eventually('the stream is broken off', () => line.channel.signal.aborted)
      return end
    }
  },
  {
    what: 'a value in the name of somebody else',
    plainEnds: 'holds',
    because: 'the validator looks at the signature',
    async plain({ author, bring, holds }) {
      const value = await sealed(author)
      for (const bytes of forgeries(value)) await bring('colour', bytes)
      return falls((await holds('colour')) !== undefined)
    },
    async ours({ author, mallory, line, holds }) {
      const record = await recordOf(author)
      for (const envelope of forgeries(record.envelope)) {
        assert.match(String(await line.store({ envelope })), /^(signature|malformed)$/)
      }
      const { envelope } = await recordOf(mallory)
      const named = replaced(envelope, keyIn(mallory.peerId), keyIn(author.peerId))
      assert.equal(await line.store({ envelope: named }), 'signature')
      return falls((await holds(COLOUR)) !== undefined)
    }
  },
  {
    what: 'a value past its time',
    plainEnds: 'falls',
    because: 'T14: values expire only when they are read, by whoever reads them',
    async plain({ author, bring, holds }, scope) {
      const time = shiftableTime(scope)
      assert.ok(!(await bring('colour', await sealed(author, { expiresMs: Date.now() - 1 }))))
      assert.ok(await bring('colour', await sealed(author, { expiresMs: Date.now() + 10 * MINUTE_MS, text: 'past' })))
      time.forward(11 * MINUTE_MS)
      return falls((await holds('colour')) === 'past')
    },
    async ours({ author, reader, line, holds }, scope) {
      const time = shiftableTime(scope)
      const now = Date.now()
      const expired = await recordOf(author, { issuedMs: now - 2 * MINUTE_MS, expiresMs: now - 1 })
      assert.equal(await line.store(expired), 'expired')
      assert.equal(await line.store(await recordOf(author, { expiresMs: now + 10 * MINUTE_MS })), undefined)
      assert.equal(read(await reader.records.get(COLOUR)), 'a value')
      time.forward(11 * MINUTE_MS)
      return falls((await holds(COLOUR)) !== undefined || (await reader.records.get(COLOUR)) !== undefined)
    }
  },
  {
    what: 'a value from the future, which would win for ever',
    plainEnds: 'holds',
    because: 'the validator looks at the time',
    async plain({ author, bring, holds }) {
      await bring('colour', await sealed(author, { sequence: Date.now() + 3 * MINUTE_MS }))
      return falls((await holds('colour')) !== undefined)
    },
    async ours({ author, line, holds }) {
      const future = { issuedMs: Date.now() + 3 * MINUTE_MS }
      assert.equal(await line.store(await recordOf(author, future)), 'future')
      const ahead = { sequence: Date.now() + 3 * MINUTE_MS, issuedMs: Date.now() }
      assert.equal(await line.store(await recordOf(author, ahead)), 'malformed', 'a sequence ahead of its time')
      return falls((await holds(COLOUR)) !== undefined)
    }
  },
  {
    what: 'a holder that gives an older value and refuses the correction',
    plainEnds: 'falls',
    because: 'T12: the whole look-up throws',
    async plain({ author, holder, attacker, reader, bring }, scope) {
      const now = Date.now()
      const [old, current] = [
        await sealed(author, { sequence: now - 1, text: 'old' }),
        await sealed(author, { sequence: now, text: 'new' })
      ]
      let isStubborn = false
      const refuse = async (key: Uint8Array, value: Uint8Array): Promise<void> => {
        if (isStubborn) throw new Error('no')
        await validate(key, value)
      }
      const stale = await plainNode(scope, {
        dht: { ...T1_CURE, validators: { v: refuse }, selectors: { v: select } }
      })
      for (const node of [holder, reader, attacker]) await stale.dial(node.getMultiaddrs())
      await eventually('the reader knows it', () => kadOf(reader).routingTable.size === 3)
      assert.ok(await put(attacker, stale, 'colour', old))
      isStubborn = true
      assert.ok(await bring('colour', current))
      try {
        for await (const _ of reader.services.dht.get(plainKey('colour'), { signal: AbortSignal.timeout(10_000) })) {
          // only the end of it matters
        }
        return 'holds'
      } catch (thrown) {
        assert.match(String(thrown), /Could not send correction/)
        return 'falls'
      }
    },
    async ours({ author, reader, attacker, line }) {
      const now = Date.now()
      const old = await recordOf(author, { issuedMs: now - 1, text: 'old' })
      const first = new Map([[hexOf(placeOf(COLOUR)), old.envelope]])
      const stale = serveHostile(attacker, 'old', { first })
      assert.equal(await line.store(await recordOf(author, { issuedMs: now, text: 'new' })), undefined)
      for (let reads = 1; reads <= 2; reads++) {
        const found = await reader.records.get(COLOUR)
        if (read(found) !== 'new') return 'falls'
        assert.equal(stale.asked.find, reads, 'it was asked')
      }
      await eventually('it was told better', () => stale.asked.store > 0)
      return 'holds'
    }
  },
  {
    what: 'new keys from one peer, without end',
    plainEnds: 'falls',
    because: 'T14: nothing limits values, neither of one peer nor of all',
    async plain({ author, bring }) {
      for (let at = 0; at < 150; at++) {
        if (!(await bring(`flood ${at}`, await sealed(author, { key: `/v/flood ${at}` })))) return 'holds'
      }
      return 'falls'
    },
    async ours({ author, mallory, holder, reader, line, holds }) {
      assert.equal(await line.store(await recordOf(author, { issuedMs: Date.now() - 1 })), undefined)
      const refusals = new Set<string | undefined>()
      for (let at = 0; at < 150; at++) {
        refusals.add(await line.store(await recordOf(mallory, { key: open(`flood ${at}`) })))
      }
      assert.deepEqual([...refusals], [undefined, 'full'])
      assert.ok(holder.records.counts.records <= 90, `${holder.records.counts.records} of 100`)
      assert.equal(await line.store(await recordOf(author, { text: 'changed' })), undefined, 'what is there changes on')
      assert.equal(read(await reader.records.get(COLOUR)), 'changed')
      return falls((await holds(COLOUR)) !== 'changed')
    }
  },
  {
    what: 'a deleted value, said again',
    plainEnds: 'falls',
    because: 'T5: a put overwrites whatever is there',
    async plain({ author, bring, holds }) {
      const now = Date.now()
      const value = await sealed(author, { sequence: now - 1, text: 'undead' })
      await bring('colour', value)
      assert.ok(await bring('colour', await sealed(author, { sequence: now, text: '' })))
      await bring('colour', value)
      return falls((await holds('colour')) === 'undead')
    },
    async ours({ author, reader, line, holds }) {
      const now = Date.now()
      const value = await recordOf(author, { issuedMs: now - 1, text: 'undead' })
      assert.equal(await line.store(value), undefined)
      assert.equal(read(await reader.records.get(COLOUR)), 'undead')
      assert.equal(await line.store(await recordOf(author, { issuedMs: now, value: undefined })), undefined)
      assert.equal(await line.store(value), 'older')
      assert.equal(await holds(COLOUR), 'deleted')
      return falls((await reader.records.get(COLOUR)) !== undefined)
    }
  },
  {
    what: 'a value said again, by somebody else, to another node and under another key',
    plainEnds: 'holds',
    because: 'the validator compares the key inside',
    async plain({ author, attacker, reader, bring, holds }) {
      const value = await sealed(author, { key: '/v/other', text: 'replayed' })
      await bring('colour', value)
      await put(attacker, reader, 'colour', value)
      return falls((await holds('colour')) !== undefined || (await holds('colour', reader)) !== undefined)
    },
    async ours({ author, mallory, reader, attacker, line, holds }) {
      const record = await recordOf(author, { key: open('other'), text: 'replayed' })
      // a holder that gives it whatever it is asked for
      const first = new Map([[hexOf(record.place), record.envelope]])
      serveHostile(attacker, 'another', { first })
      assert.equal(await line.store(record), undefined)
      const found = await reader.records.get(open('other'))
      assert.deepEqual([read(found), found?.record.author], ['replayed', author.peerId], 'whoever brings it')
      assert.notEqual(author.peerId, mallory.peerId)
      const owned = { kind: 'owned', owner: author.peerId, name: 'other' } as const
      for (const key of [COLOUR, owned]) {
        if ((await holds(key)) !== undefined) return 'falls'
        const other = await reader.records.get(key).catch((thrown: Error) => thrown)
        if (other !== undefined && !(other instanceof Error)) return 'falls'
      }
      return 'holds'
    }
  },
  {
    what: 'holders that refuse everything',
    plainEnds: 'falls',
    because: 'T6: a put that nobody stored resolves',
    async plain({ author, holder, attacker, reader }) {
      // no validator knows the namespace
      const key = new TextEncoder().encode('/w/colour')
      await reader.contentRouting.put(key, await sealed(author), { signal: AbortSignal.timeout(10_000) })
      for (const node of [holder, attacker]) {
        await assert.rejects(node.contentRouting.get(key, { signal: AbortSignal.timeout(10_000) }))
      }
      return 'falls'
    },
    async ours({ mallory, reader, line, holder }) {
      for (let at = 0; holder.records.counts.records < 90; at++) {
        await line.store(await recordOf(mallory, { key: open(`flood ${at}`) }))
      }
      return await reader.records.put(COLOUR, json('refused')).then(
        () => 'falls',
        thrown => {
          assert.equal(thrown.code, 'limit-reached')
          return 'holds'
        }
      )
    }
  }
]

describe('attacks on values, on kad-dht and on records', () => {
  for (const { what, plainEnds, because, plain, ours } of ATTACKS) {
    it(`${what}: kad-dht ${plainEnds} (${because}), ours holds`, TEST, async () => {
      await using plainScope = new Scope()
      assert.equal(await plain(await plainWorld(plainScope), plainScope), plainEnds)
      await plainScope.close()
      await using scope = new Scope()
      assert.equal(await ours(await recordArena(scope, { maxRecords: 100 }), scope), 'holds')
    })
  }
})

/** An envelope with its last byte, one of its signature, or one of its value changed. */
function forgeries(envelope: Uint8Array): Uint8Array[] {
  const inText = Buffer.from(envelope).indexOf('a value')
  return [envelope.length - 1, envelope.length - 40, inText].map(at => {
    const forged = envelope.slice()
    forged[at] = (forged[at] as number) ^ 1
    return forged
  })
}

/** The public key in a peer id. */
function keyIn(peerId: string): Uint8Array {
  return base58btc.baseDecode(peerId).subarray(2)
}

function replaced(bytes: Uint8Array, old: Uint8Array, now: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  const at = Buffer.from(bytes).indexOf(old)
  assert.ok(at >= 0)
  copy.set(now, at)
  return copy
}
