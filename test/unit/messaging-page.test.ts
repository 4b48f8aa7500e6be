import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import type { Value } from '../../src/peer/api.ts'
import {
  messageFrame,
  openFrame,
  REFUSAL_CODES,
  readFrame,
  receiptFrame,
  refusalFrame
} from '../../src/peer/messaging/frame.ts'
import * as limits from '../../src/peer/messaging/limits.ts'
import { decodeValue, encodeValue, MAX_VALUE_DEPTH } from '../../src/peer/value.ts'
import { ERROR_CODES } from '../../src/shared/core/errors.ts'
import { encodeFrames, FrameDecoder } from '../../src/shared/wire/frames.ts'
import {
  MAX_MESSAGE_BYTES,
  MAX_MESSAGE_FRAME_BYTES,
  MESSAGE_PROTOCOL,
  type MessageFrame
} from '../../src/shared/wire/message.ts'
import { LOBBY } from '../support/messaging-world.ts'

const page = await readFile(new URL('../../docs/protocols/message.md', import.meta.url), 'utf8')

/** The rows of the table under a heading, as cells. */
function table(heading: string): string[][] {
  const [section = ''] = page.split(`\n## ${heading}\n`)[1]?.split('\n## ') ?? []
  const rows = section.split('\n').filter(line => line.startsWith('| '))
  return rows.slice(2).map(row => row.split(' | ').map(cell => cell.replaceAll(/^\| | \|$|`/g, '')))
}

function message(id: number, value: Value): { frame: Uint8Array; says: MessageFrame; value: Value } {
  const { kind, body } = encodeValue(value, MAX_MESSAGE_BYTES)
  return { frame: messageFrame(id, kind, body), says: { message: { id, kind, body } }, value }
}

const record = new TextEncoder().encode('record')
const vectors: Record<string, { frame: Uint8Array; says: MessageFrame; value?: Value }> = {
  'OPEN lobby': { frame: openFrame(LOBBY.key, record), says: { open: { topic: LOBBY.key, envelope: record } } },
  'MESSAGE 1, JSON {"say":"hello"}': message(1, { say: 'hello' }),
  'MESSAGE 2, bytes 00 01 ff': message(2, Uint8Array.of(0, 1, 255)),
  'MESSAGE 300, JSON ""': message(300, ''),
  'MESSAGE 301, no bytes': message(301, new Uint8Array(0)),
  'RECEIPT 1': { frame: receiptFrame(1), says: { receipt: { id: 1 } } },
  'RECEIPT 300': { frame: receiptFrame(300), says: { receipt: { id: 300 } } },
  'REFUSAL 2, refused': { frame: refusalFrame('refused', 2), says: { refusal: { id: 2, code: 'refused' } } },
  'REFUSAL of the stream, not-a-member': {
    frame: refusalFrame('not-a-member'),
    says: { refusal: { code: 'not-a-member' } }
  }
}

describe('the page of the message protocol', () => {
  const written = new Map(table('Test vectors').map(([name = '', hex = '']) => [name, hex]))

  it('has the vectors of this test and no others', () => {
    assert.deepEqual([...written.keys()], Object.keys(vectors))
    assert.ok(page.includes(LOBBY.id))
  })

  for (const [name, { frame, says, value }] of Object.entries(vectors)) {
    it(`has the bytes of ${name}`, () => {
      const hex = written.get(name) ?? ''
      assert.equal(Buffer.from(encodeFrames([frame])).toString('hex'), hex)
      const [body, ...more] = new FrameDecoder(MAX_MESSAGE_FRAME_BYTES).push(Uint8Array.from(Buffer.from(hex, 'hex')))
      assert.ok(body !== undefined && more.length === 0)
      const read = readFrame(body)
      assert.deepEqual(plain(read), plain(says))
      if (read.message !== undefined) assert.deepEqual(decodeValue(read.message), { value })
    })
  }

  it('has the limits of the code, by name and number', () => {
    const inCode = new Map<string, number>(
      Object.entries({ ...limits, MAX_MESSAGE_BYTES, MAX_MESSAGE_FRAME_BYTES, MAX_VALUE_DEPTH }).filter(
        (entry): entry is [string, number] => typeof entry[1] === 'number'
      )
    )
    inCode.delete('MAX_TURN_MS') // no promise to others
    const onPage = table('Limits').map(([name = '', value = '']) => [
      name,
      Number(/^[\d,]+/.exec(value)?.[0].replaceAll(',', ''))
    ])
    assert.deepEqual(Object.fromEntries(onPage), Object.fromEntries(inCode))
  })

  it('names the protocol, and codes that exist', () => {
    assert.ok(page.includes(`/muster/<network>/${MESSAGE_PROTOCOL}`))
    const codes = table('Errors').map(([code = '']) => code)
    assert.ok(codes.every(code => code in ERROR_CODES))
    assert.ok(REFUSAL_CODES.every(code => codes.includes(code)))
  })
})

/** Byte strings as hex: a Buffer and a Uint8Array of the same bytes are equal. */
function plain(frame: MessageFrame): unknown {
  return JSON.parse(
    JSON.stringify(frame, (_key, part) => (part instanceof Uint8Array ? Buffer.from(part).toString('hex') : part))
  )
}
