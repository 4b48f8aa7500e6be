import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { concatBytes } from '../../src/shared/core/bytes.ts'
import { placeOf } from '../../src/shared/records/key.ts'
import {
  MAX_OFFERS,
  MAX_RECORD_FRAME_BYTES,
  RECORD_PROTOCOL,
  type RecordFrame,
  recordFrameCodec
} from '../../src/shared/wire/record.ts'
import { garbage, isReset, pour, rawStream } from '../support/attacker.ts'
import { eventually } from '../support/eventually.ts'
import { ourNode, Scope } from '../support/plain.ts'
import { acquaint, escaped, type RealHolder, realHolder, recordArena } from '../support/record-arena.ts'
import { madeUpNodes, RecordCaller, recordOf } from '../support/record-caller.ts'
import { namesOf, serveByHand } from '../support/record-hostiles.ts'
import { json, open, read } from '../support/record-world.ts'

const TEST = { timeout: 60_000 }
const COLOUR = open('colour')
const PLACE = placeOf(COLOUR)
const said = (frame: RecordFrame): Uint8Array => recordFrameCodec.encode(frame)

describe('a holder of records hears nonsense', () => {
  const find = { find: { id: 1, place: PLACE } }
  const FRAMES: ReadonlyArray<readonly [what: string, frame: Uint8Array]> = [
    ['random bytes', garbage(1, 1_000)],
    ['an empty frame', new Uint8Array(0)],
    ['nothing but an unknown field', Uint8Array.of(0x9a, 0x06, 3, 1, 2, 3)],
    ['two requests in one frame', said({ ...find, offers: { id: 1, records: [] } })],
    ['a request and an answer in one frame', said({ ...find, found: { id: 1, closer: [] } })],
    ['an answer that nobody asked for', said({ found: { id: 1, closer: [] } })],
    ['a change that nobody watches', said({ changed: { envelope: garbage(2, 100) } })],
    ['a refusal', said({ refusal: { id: 1, code: 'no' } })],
    ['a place of 31 bytes', said({ find: { id: 1, place: PLACE.subarray(1) } })],
    ['a place of 33 bytes', said({ find: { id: 1, place: concatBytes([PLACE, Uint8Array.of(1)]) } })],
    ['no place', said({ find: { id: 1, place: new Uint8Array(0) } })],
    ['a watch of a place of 31 bytes', said({ find: { id: 1, place: PLACE.subarray(1), watch: true } })],
    [
      'an offer of a place of 31 bytes',
      said({
        offers: {
          id: 1,
          records: [{ place: PLACE.subarray(1), sequence: 1, issuedMs: 1, expiresMs: 2, digest: new Uint8Array(32) }]
        }
      })
    ],
    [
      'more offers than a frame may have',
      said({
        offers: {
          id: 1,
          records: Array.from({ length: MAX_OFFERS + 1 }, () => ({
            place: PLACE,
            sequence: 1,
            issuedMs: 1,
            expiresMs: 2,
            digest: new Uint8Array(32)
          }))
        }
      })
    ],
    ['a number without end', new Uint8Array(5_000).fill(0xff)]
  ]

  it('breaks the stream off, and nothing else', TEST, async () => {
    await using scope = new Scope()
    const uncaught = escaped(scope)
    const { author, holder, reader, attacker, line } = await recordArena(scope)
    assert.equal(await line.store(await recordOf(author)), undefined)
    for (const [what, frame] of FRAMES) {
      const evil = await RecordCaller.dial(attacker, holder.node.peerId)
      evil.say(frame)
      await eventually(`the stream is broken off: ${what}`, () => evil.channel.signal.aborted)
      assert.deepEqual(evil.unasked, [], what)
      assert.equal(read(await reader.records.get(COLOUR)), 'a value', what)
    }
    assert.equal((await line.find(PLACE)).closer.length, 1, 'the other stream of the same peer lives')
    assert.deepEqual(uncaught, [])
  })

  it('breaks the stream off at a frame that says it is longer than any', TEST, async () => {
    await using scope = new Scope()
    const { reader, holder, attacker } = await recordArena(scope)
    const length = MAX_RECORD_FRAME_BYTES + 1
    for (const bytes of [
      [0xff, 0xff, 0xff, 0xff],
      [0, 0, length >> 8, length & 255]
    ]) {
      const stream = await rawStream(attacker.libp2p, holder.node, RECORD_PROTOCOL)
      pour(stream, Uint8Array.from([...bytes, 1, 2, 3]))
      await isReset(stream, bytes.join())
    }
    await reader.records.put(COLOUR, json('blue'))
    assert.equal(holder.records.counts.records, 1)
  })

  it('refuses what is too much, and answers others meanwhile', TEST, async () => {
    await using scope = new Scope()
    const { author, reader, line } = await recordArena(scope)
    assert.equal(await line.store(await recordOf(author)), undefined)
    const codes = new Map<string, number>()
    const asking = Promise.all(
      Array.from({ length: 6_000 }, async () => {
        const { refusal } = await line.ask(id => ({ find: { id, place: PLACE } }))
        const code = refusal?.code ?? 'found'
        codes.set(code, (codes.get(code) ?? 0) + 1)
      })
    )
    assert.equal(read(await reader.records.get(COLOUR)), 'a value')
    await asking
    assert.ok((codes.get('limit-reached') ?? 0) > 0, JSON.stringify([...codes]))
    assert.equal(read(await reader.records.get(COLOUR)), 'a value')
  })
})

describe('a reader and writer of records asks a node that', () => {
  type Respond = (frame: RecordFrame, holders: readonly RealHolder[]) => ReadonlyArray<RecordFrame | Uint8Array | Error>
  const idOf = ({ find, store, offers }: RecordFrame): number => (find ?? store ?? offers)?.id ?? 0
  const plainAnswer = (frame: RecordFrame, closer = madeUpNodes(PLACE, 0, 1)): RecordFrame => {
    const id = idOf(frame)
    if (frame.find !== undefined) return { found: { id, closer } }
    return frame.store !== undefined ? { stored: { id, closer } } : { wanted: { id, places: [] } }
  }
  const SERVERS: Readonly<Record<string, Respond>> = {
    'never answers': () => [],
    'breaks every stream off': () => [new Error('no')],
    'answers with random bytes': () => [garbage(3, 200)],
    'answers with an empty frame': () => [new Uint8Array(0)],
    'answers with something else than was asked for': frame => [
      frame.store === undefined
        ? { stored: { id: idOf(frame), closer: [] } }
        : { found: { id: idOf(frame), closer: [] } }
    ],
    'answers two things in one frame': frame => [{ ...plainAnswer(frame), refusal: { id: idOf(frame), code: 'no' } }],
    'answers what nobody asked for, first': frame => [
      { found: { id: 77_777, closer: [] } },
      { refusal: { id: 77_778, code: 'no' } },
      plainAnswer(frame)
    ],
    'answers everything twice': frame => [plainAnswer(frame), plainAnswer(frame)],
    'refuses everything': frame => [{ refusal: { id: idOf(frame), code: 'a code that no version knows' } }],
    'asks back': frame => [{ find: { id: idOf(frame), place: PLACE } }],
    'gives an envelope that is none': frame =>
      frame.find === undefined
        ? [{ stored: { id: idOf(frame), refusal: 'older', newer: garbage(4, 300), closer: [] } }]
        : [{ found: { id: idOf(frame), envelope: garbage(5, 300), closer: [] } }],
    'names twenty nodes near the key that nobody is': frame => [plainAnswer(frame, madeUpNodes(PLACE, 20, 6))],
    'names honest nodes where they are not': (frame, holders) => [
      plainAnswer(
        frame,
        holders.map(({ node }) => ({ peerId: node.peerId, addresses: ['/ip4/127.0.0.1/tcp/1', 'rubbish'] }))
      )
    ],
    'names what is no peer': frame => [
      plainAnswer(frame, [
        { peerId: '', addresses: [] },
        { peerId: '12D3KooW', addresses: ['/ip4/127.0.0.1/tcp/1'] },
        { peerId: `12D3KooW${'z'.repeat(44)}`, addresses: ['/ip4/127.0.0.1/tcp/1'] },
        { peerId: 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N', addresses: ['/dns4/localhost/tcp/1'] }
      ])
    ]
  }

  for (const [what, respond] of Object.entries(SERVERS)) {
    it(`${what}: finds and stores what the honest have, the newest`, TEST, async () => {
      await using scope = new Scope()
      const uncaught = escaped(scope)
      const holders = await Promise.all(Array.from({ length: 4 }, () => realHolder(scope)))
      const [reader, writer] = holders as [RealHolder, RealHolder]
      const evil = await ourNode(scope, { mayBeAlone: true })
      let asked = 0
      serveByHand(evil, frame => {
        asked++
        return respond(frame, holders)
      })
      await acquaint(...holders.map(({ node }) => node), evil)
      await writer.records.put(COLOUR, json('blue'))
      assert.equal(read(await reader.records.get(COLOUR)), 'blue')
      const put = await reader.records.put(COLOUR, json('green'))
      assert.ok(put.stored >= 3, `the honest ones store it: ${put.stored}`)
      const all = await Promise.all(holders.map(({ records }) => records.get(COLOUR)))
      assert.deepEqual(all.map(read), ['green', 'green', 'green', 'green'])
      assert.ok(asked > 0, 'it was asked')
      for (const { node } of holders) assert.ok(!node.signal.aborted && namesOf(node, PLACE).length > 0)
      assert.deepEqual(uncaught, [])
    })
  }
})
