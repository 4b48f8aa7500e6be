import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Value } from '../../src/peer/api.ts'
import { nodeCompression } from '../../src/peer/messaging/compression.server.ts'
import {
  cancelFrame,
  messageFrame,
  openFrame,
  partFrame,
  REFUSAL_CODES,
  readFrame,
  receiptFrame,
  refusalFrame,
  welcomeFrame
} from '../../src/peer/messaging/frame.ts'
import * as limits from '../../src/peer/messaging/limits.ts'
import { unpack } from '../../src/peer/messaging/pack.ts'
import { MAX_WAIT_MS } from '../../src/peer/times.ts'
import { encodeValue, MAX_VALUE_DEPTH, MAX_VALUE_ITEMS } from '../../src/peer/value.ts'
import { ERROR_CODES } from '../../src/shared/core/errors.ts'
import { encodeFrames, FrameDecoder } from '../../src/shared/wire/frames.ts'
import {
  ENCODING,
  MAX_MESSAGE_FRAME_BYTES,
  MESSAGE_PROTOCOL,
  type MessageFrame,
  type MessageHead,
  PART_BYTES
} from '../../src/shared/wire/message.ts'
import { LOBBY } from '../support/messaging-world.ts'
import { readPage } from '../support/page.ts'

const page = readPage('docs/protocols/message.md')

interface Vector {
  readonly frame: Uint8Array
  readonly says: MessageFrame
  readonly value?: Value
}

const ofHex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))

function message(id: number, value: Value, more: Partial<MessageHead> = {}): Vector {
  const { kind, body } = encodeValue(value, limits.MAX_MESSAGE_BYTES)
  const head: MessageHead = { id, kind, body, ...more }
  return { frame: messageFrame(head), says: { message: head }, value }
}

const envelope = new TextEncoder().encode('record')
const open = { topic: LOBBY.key, envelope, session: 77, maxBytes: limits.MAX_MESSAGE_BYTES }
const welcome = { maxBytes: limits.MAX_MESSAGE_BYTES }
const encodings = ENCODING.deflate + ENCODING.brotli
const letters = 'a'.repeat(100)
const rawSize = letters.length + 2
const deflated = ofHex('789c534aa403500200addb2629')
const brotlied = ofHex('1b6500f8a544c24a11c802815d00')
const first = { id: 8, kind: 1, body: new Uint8Array(PART_BYTES), size: PART_BYTES + 3 }

const vectors: Record<string, Vector> = {
  'OPEN lobby, session 77, no encodings': { frame: openFrame(open), says: { open } },
  'OPEN lobby, session 77, both encodings': {
    frame: openFrame({ ...open, encodings }),
    says: { open: { ...open, encodings } }
  },
  'WELCOME, no encodings': { frame: welcomeFrame(welcome), says: { welcome } },
  'WELCOME, both encodings': {
    frame: welcomeFrame({ ...welcome, encodings }),
    says: { welcome: { ...welcome, encodings } }
  },
  'MESSAGE 1, JSON {"say":"hello"}': message(1, { say: 'hello' }),
  'MESSAGE 2, bytes 00 01 ff': message(2, Uint8Array.of(0, 1, 255)),
  'MESSAGE 300, JSON ""': message(300, ''),
  'MESSAGE 301, no bytes': message(301, new Uint8Array(0)),
  'MESSAGE 3, JSON 1, a request': message(3, 1, { wantsReply: true }),
  'MESSAGE 4, JSON 2, answers 3': message(4, 2, { replyTo: 3 }),
  'MESSAGE 5, JSON 2, answers 3 with a request': message(5, 2, { replyTo: 3, wantsReply: true }),
  'MESSAGE 6, JSON 1, may come again': message(6, 1, { mayRepeat: true }),
  'MESSAGE 7, deflate': message(7, letters, { body: deflated, encoding: ENCODING.deflate, rawSize }),
  'MESSAGE 7, brotli': message(7, letters, { body: brotlied, encoding: ENCODING.brotli, rawSize }),
  'MESSAGE 8, the first part of 65,539 zero bytes': { frame: messageFrame(first), says: { message: first } },
  'PART of 8, the last 3': {
    frame: partFrame(8, new Uint8Array(3)),
    says: { part: { id: 8, body: new Uint8Array(3) } }
  },
  'RECEIPT 1': { frame: receiptFrame(1), says: { receipt: { id: 1 } } },
  'RECEIPT 300': { frame: receiptFrame(300), says: { receipt: { id: 300 } } },
  'RECEIPT 46 to 300': { frame: receiptFrame(300, 46), says: { receipt: { id: 300, since: 46 } } },
  'REFUSAL 2, no-handler': { frame: refusalFrame('no-handler', 2), says: { refusal: { id: 2, code: 'no-handler' } } },
  'REFUSAL of the stream, not-a-member': {
    frame: refusalFrame('not-a-member'),
    says: { refusal: { code: 'not-a-member' } }
  },
  'CANCEL 3': { frame: cancelFrame(3), says: { cancel: { id: 3 } } }
}

describe('the page of the message protocol', () => {
  const rows = page.section('Test vectors').table()
  const written = new Map(rows.map(([name = '', hex = '']) => [name.replaceAll('`', ''), expanded(hex)]))

  it('has the vectors of this test and no others', () => {
    assert.deepEqual([...written.keys()], Object.keys(vectors))
    assert.ok(page.text.includes(LOBBY.id))
  })

  for (const [name, { frame, says, value }] of Object.entries(vectors)) {
    it(`has the bytes of ${name}`, async () => {
      const hex = written.get(name) ?? ''
      assert.equal(Buffer.from(encodeFrames([frame])).toString('hex'), hex)
      const [body, ...more] = new FrameDecoder(MAX_MESSAGE_FRAME_BYTES).push(ofHex(hex))
      assert.ok(body !== undefined && more.length === 0)
      const read = readFrame(body)
      assert.deepEqual(plain(read), plain(says))
      if (read.message === undefined || value === undefined) return
      const { encoding, rawSize: long = read.message.body.length } = read.message
      assert.deepEqual(await unpack({ ...read.message, encoding, rawSize: long }, nodeCompression), { value })
    })
  }

  it('has vectors for every kind of frame it describes', () => {
    const kinds = page
      .section('Bytes')
      .table()
      .map(([field = '']) => /`(\w+)`/.exec(field)?.[1])
    assert.deepEqual(new Set(Object.values(vectors).flatMap(({ says }) => Object.keys(says))), new Set(kinds))
  })

  it('has the limits of the code, by name and number', () => {
    const inCode = new Map<string, number>(
      Object.entries({
        ...limits,
        MAX_WAIT_MS,
        PART_BYTES,
        MAX_MESSAGE_FRAME_BYTES,
        MAX_VALUE_DEPTH,
        MAX_VALUE_ITEMS
      }).filter((entry): entry is [string, number] => typeof entry[1] === 'number')
    )
    inCode.delete('MAX_TURN_MS') // no promise to others
    assert.deepEqual(page.section('Limits').numbers(), Object.fromEntries(inCode))
  })

  it('names the protocol, codes that exist, and those that a refusal may have', () => {
    assert.ok(page.text.includes(`/muster/<network>/${MESSAGE_PROTOCOL}`))
    const errors = page.section('Errors').table()
    for (const [code = ''] of errors) assert.ok(code in ERROR_CODES, code)
    const onWire = errors.filter(([, isOnWire]) => isOnWire === 'yes').map(([code]) => code)
    assert.deepEqual(new Set(onWire), new Set(REFUSAL_CODES))
  })
})

/** `(00 × 65,536)` written out. */
function expanded(hex: string): string {
  return hex.replace(/\((\w\w) × ([\d,]+)\)/, (_all, byte: string, count: string) =>
    byte.repeat(Number(count.replaceAll(',', '')))
  )
}

/** Byte strings as hex: a Buffer and a Uint8Array of the same bytes are equal. */
function plain(frame: MessageFrame): unknown {
  return JSON.parse(
    JSON.stringify(frame, (_key, part) => (part instanceof Uint8Array ? Buffer.from(part).toString('hex') : part))
  )
}
