import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sha256 } from '@noble/hashes/sha2.js'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import { contentKey, keyBytes, placeOf, type RecordKey } from '../../src/shared/records/key.ts'
import * as limits from '../../src/shared/records/limits.ts'
import { openRecord, RECORD_DOMAIN, type RecordFields, signRecord } from '../../src/shared/records/record.ts'
import { encodeFrames, FrameDecoder } from '../../src/shared/wire/frames.ts'
import { VALUE_KIND } from '../../src/shared/wire/message.ts'
import * as wire from '../../src/shared/wire/record.ts'
import {
  MAX_RECORD_FRAME_BYTES,
  RECORD_KIND,
  RECORD_PROTOCOL,
  type RecordFrame,
  recordCodec,
  recordFrameCodec
} from '../../src/shared/wire/record.ts'
import { readPage } from '../support/page.ts'

const page = readPage('docs/protocols/records.md')
const ana = await createIdentity(new Uint8Array(32).fill(7))
const ISSUED_MS = 1_700_000_000_000
const EXPIRES_MS = ISSUED_MS + limits.RECORD_VALIDITY_MS
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const hex = (of: Uint8Array): string => Buffer.from(of).toString('hex')

const value = { kind: VALUE_KIND.json, body: bytes('"blue"') }
const keys = {
  content: contentKey(value.kind, value.body),
  bytes: contentKey(VALUE_KIND.bytes, value.body),
  owned: { kind: 'owned', owner: ana.peerId, name: 'colour' },
  open: { kind: 'open', name: 'colour' }
} as const satisfies Record<string, RecordKey>

const placeVectors: Record<string, Uint8Array> = {
  'content, JSON `"blue"`': placeOf(keys.content),
  'content, the same as bytes': placeOf(keys.bytes),
  'owned, `colour`': placeOf(keys.owned),
  'open, `colour`': placeOf(keys.open)
}

const fields = (key: RecordKey, body = true): RecordFields => ({
  key,
  sequence: ISSUED_MS,
  issuedMs: ISSUED_MS,
  expiresMs: body ? EXPIRES_MS : ISSUED_MS + limits.MAX_RECORD_VALIDITY_MS,
  value: body ? value : undefined
})
const said = {
  sequence: ISSUED_MS,
  issuedMs: ISSUED_MS,
  expiresMs: EXPIRES_MS,
  valueKind: value.kind,
  value: value.body
}
const payload = (key: RecordKey): Uint8Array =>
  recordCodec.encode({ ...said, kind: RECORD_KIND[key.kind], key: keyBytes(key) })
const signed = await signRecord(ana, fields(keys.owned))

const recordVectors: Record<string, Uint8Array> = {
  'payload, content, JSON `"blue"`': payload(keys.content),
  'payload, owned, `colour` is `"blue"`': payload(keys.owned),
  'payload, open, `colour` is `"blue"`': payload(keys.open),
  'payload, open, `colour` is deleted': recordCodec.encode({
    kind: RECORD_KIND.open,
    key: keyBytes(keys.open),
    sequence: ISSUED_MS,
    issuedMs: ISSUED_MS,
    expiresMs: ISSUED_MS + limits.MAX_RECORD_VALIDITY_MS
  }),
  'envelope, owned, `colour` is `"blue"`': signed.envelope
}

const place = placeOf(keys.open)
const envelope = bytes('record')
const closer = [{ peerId: ana.peerId, addresses: ['/ip4/192.0.2.1/tcp/8468'] }]
const offer = {
  place,
  sequence: ISSUED_MS,
  issuedMs: ISSUED_MS,
  expiresMs: EXPIRES_MS,
  digest: sha256(payload(keys.open))
}
const frames: Record<string, RecordFrame> = {
  FIND: { find: { id: 1, place } },
  'FIND, and watch': { find: { id: 2, place, watch: true } },
  FOUND: { found: { id: 1, envelope, closer } },
  'FOUND nothing, nobody closer': { found: { id: 2, closer: [] } },
  STORE: { store: { id: 3, envelope } },
  'STORE, and name closer ones': { store: { id: 4, envelope, wantsCloser: true } },
  STORED: { stored: { id: 3, closer: [] } },
  'STORED, closer ones': { stored: { id: 4, closer } },
  'STORED, refused: older': { stored: { id: 3, refusal: 'older', newer: envelope, closer: [] } },
  'STORED, refused: full': { stored: { id: 3, refusal: 'full', closer: [] } },
  'OFFERS, one': { offers: { id: 5, records: [offer] } },
  'WANTED, that one': { wanted: { id: 5, places: [place] } },
  'WANTED, none': { wanted: { id: 5, places: [] } },
  CHANGED: { changed: { envelope } },
  'REFUSAL limit-reached': { refusal: { id: 6, code: 'limit-reached' } }
}

/** Names and hex of a table of the page. */
function written(section: string): Array<[string, string]> {
  return page
    .section(section)
    .table()
    .map(([name = '', text = '']) => [name, text])
}

function asWritten(vectors: Record<string, Uint8Array>): Array<[string, string]> {
  return Object.entries(vectors).map(([name, of]) => [name, hex(of)])
}

describe('docs/protocols/records.md', () => {
  it('has the place of each kind of key', () => {
    assert.deepEqual(written('Places of keys'), asWritten(placeVectors))
    for (const text of [keys.content.cid, keys.bytes.cid, ana.peerId])
      assert.ok(page.text.includes(`\`${text}\``), text)
  })

  it('has payloads and an envelope, byte for byte', async () => {
    assert.deepEqual(written('Records, signed and not'), asWritten(recordVectors))
    const opened = await openRecord(signed.envelope, unseal, ISSUED_MS)
    assert.deepEqual(opened.key, keys.owned)
    assert.equal(hex(opened.place), placeVectors['owned, `colour`'] && hex(placeVectors['owned, `colour`']))
    const unsealed = await unseal(RECORD_DOMAIN, signed.envelope, wire.MAX_RECORD_ENVELOPE_BYTES)
    assert.equal(hex(unsealed.payload), hex(recordVectors['payload, owned, `colour` is `"blue"`'] as Uint8Array))
    const tombstone = await signRecord(ana, fields(keys.open, false))
    assert.ok(hex(tombstone.envelope).includes(hex(recordVectors['payload, open, `colour` is deleted'] as Uint8Array)))
  })

  it('has the frames of this test and no others', () => {
    assert.deepEqual(
      written('Frames in bytes').map(([name]) => name),
      Object.keys(frames)
    )
  })

  const frameBytes = new Map(written('Frames in bytes'))
  for (const [name, frame] of Object.entries(frames)) {
    it(`has the bytes of ${name}`, () => {
      const text = frameBytes.get(name) ?? ''
      assert.equal(hex(encodeFrames([recordFrameCodec.encode(frame)])), text)
      const [body, ...more] = new FrameDecoder(MAX_RECORD_FRAME_BYTES).push(Uint8Array.from(Buffer.from(text, 'hex')))
      assert.ok(body !== undefined && more.length === 0)
      assert.deepEqual(plain(recordFrameCodec.decode(body)), plain(frame))
    })
  }

  it('has the limits of the code, by name and number', () => {
    const inCode = Object.entries({ ...wire, ...limits }).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number'
    )
    assert.deepEqual(page.section('Limits').numbers(), Object.fromEntries(inCode))
  })

  it('names the protocol, the domain, the kinds and what a holder refuses with', () => {
    assert.ok(page.text.includes(`/muster/<network>/${RECORD_PROTOCOL}`))
    assert.ok(page.text.includes(`\`/muster/${RECORD_DOMAIN}\``))
    for (const [kind, number] of Object.entries(RECORD_KIND)) assert.ok(page.text.includes(`${number} ${kind}`), kind)
    for (const code of ['older', 'malformed', 'signature', 'expired', 'future', 'full', 'rate', 'failed']) {
      assert.ok(page.text.includes(`\`${code}\``), code)
    }
  })
})

/** Byte strings as hex: a Buffer and a Uint8Array of the same bytes are equal. */
function plain(frame: RecordFrame): unknown {
  return JSON.parse(JSON.stringify(frame, (_key, part) => (part instanceof Uint8Array ? hex(part) : part)))
}
