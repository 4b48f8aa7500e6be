import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encodeFileMessage, FILE_STREAM } from '../../src/peer/cli/file-wire.ts'
import {
  ACCEPT_FRAME,
  DONE_FRAME,
  dataFrame,
  END_FRAME,
  openFrame,
  REFUSAL_CODES,
  readFrame,
  refusalFrame
} from '../../src/peer/streams/frame.ts'
import * as limits from '../../src/peer/streams/limits.ts'
import { ERROR_CODES } from '../../src/shared/core/errors.ts'
import { encodeFrames, FrameDecoder } from '../../src/shared/wire/frames.ts'
import * as wire from '../../src/shared/wire/stream.ts'
import { readPage } from '../support/page.ts'
import { LOBBY } from '../support/stream-world.ts'

const page = readPage('docs/protocols/stream.md')
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const fileMessage = Uint8Array.from(encodeFileMessage({ name: 'a.txt', size: 1 }))

const vectors: Record<string, { frame: Uint8Array; says: wire.StreamFrame }> = {
  'OPEN lobby, pipe': {
    frame: openFrame(LOBBY.key, utf8('record'), 'pipe'),
    says: { open: { topic: LOBBY.key, envelope: utf8('record'), name: 'pipe' } }
  },
  ACCEPT: { frame: ACCEPT_FRAME, says: { accept: {} } },
  'REFUSAL, no-handler': { frame: refusalFrame('no-handler'), says: { refusal: { code: 'no-handler' } } },
  'DATA 00 01 ff': { frame: dataFrame(Uint8Array.of(0, 1, 255)), says: { data: Uint8Array.of(0, 1, 255) } },
  'DATA of a file: its first message, {"name":"a.txt","size":1}': {
    frame: dataFrame(fileMessage),
    says: { data: fileMessage }
  },
  END: { frame: END_FRAME, says: { end: {} } },
  DONE: { frame: DONE_FRAME, says: { done: {} } }
}

describe('the page of the stream protocol', () => {
  const written = new Map(
    page
      .section('Test vectors')
      .table()
      .map(([name = '', hex = '']) => [name.replaceAll('`', ''), hex])
  )

  it('has the vectors of this test and no others', () => {
    assert.deepEqual([...written.keys()], Object.keys(vectors))
    assert.ok(page.text.includes(LOBBY.id))
  })

  for (const [name, { frame, says }] of Object.entries(vectors)) {
    it(`has the bytes of ${name}`, () => {
      const hex = written.get(name) ?? ''
      assert.equal(Buffer.from(encodeFrames([frame])).toString('hex'), hex)
      const decoder = new FrameDecoder(wire.MAX_STREAM_FRAME_BYTES)
      const [body, ...more] = decoder.push(Uint8Array.from(Buffer.from(hex, 'hex')))
      assert.ok(body !== undefined && more.length === 0)
      assert.deepEqual(plain(readFrame(body)), plain(says))
    })
  }

  it('has the limits of the code, by name and number', () => {
    const inCode = Object.entries({ ...wire, ...limits }).filter(([, value]) => typeof value === 'number')
    assert.deepEqual(page.section('Limits').numbers(), Object.fromEntries(inCode))
  })

  it('names the protocol, the stream of files, and codes that exist', () => {
    assert.ok(page.text.includes(`/muster/<network>/${wire.STREAM_PROTOCOL}`))
    assert.ok(page.text.includes(`\`${FILE_STREAM}\``))
    const codes = page
      .section('Errors')
      .table()
      .map(([code = '']) => code.replaceAll('`', ''))
    assert.ok(codes.length > 5 && codes.every(code => code in ERROR_CODES))
    assert.ok(REFUSAL_CODES.every(code => codes.includes(code)))
  })
})

/** Byte strings as hex: a Buffer and a Uint8Array of the same bytes are equal. */
function plain(frame: wire.StreamFrame): unknown {
  return JSON.parse(
    JSON.stringify(frame, (_key, part) => (part instanceof Uint8Array ? Buffer.from(part).toString('hex') : part))
  )
}
